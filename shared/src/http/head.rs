//! What the head of every request must say: one valid `Host` (RFC 9112, section 3.2), and no transfer coding
//! but chunks. A proxy in front could otherwise take another host for the right one, or undo a coding and see
//! another body.

use std::net::Ipv6Addr;

use axum::extract::Request;
use axum::http::header::AsHeaderName;
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Lets a request through whose head is as it must be; any other is answered 400.
pub async fn check(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let broken = host_rule(headers, request.version())
        .map(|rule| ("Host", rule))
        .or_else(|| coding_rule(headers).map(|rule| ("Transfer-Encoding", rule)));
    match broken {
        None => next.run(request).await,
        Some((field, rule)) => Problem::invalid(field, rule).into_response(),
    }
}

/// The one value of a header. The error is the rule that several break.
pub fn one(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<&HeaderValue>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err("must be given once"),
    }
}

/// The rule that the `Host` breaks. HTTP/1.0 knows requests without one.
fn host_rule(headers: &HeaderMap, version: Version) -> Option<&'static str> {
    match one(headers, header::HOST) {
        Ok(None) if version < Version::HTTP_11 => None,
        Ok(None) => Some("is required"),
        Ok(Some(host)) if host.to_str().is_ok_and(is_valid) => None,
        Ok(Some(_)) => Some("must be a name or an address, with or without a port"),
        Err(rule) => Some(rule),
    }
}

fn coding_rule(headers: &HeaderMap) -> Option<&'static str> {
    match one(headers, header::TRANSFER_ENCODING) {
        Ok(None) => None,
        Ok(Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        _ => Some("must be chunked and nothing else"),
    }
}

/// `uri-host [ ":" port ]` (RFC 3986, section 3.2). The host must not be empty (RFC 9110, section 4.2.1).
fn is_valid(host: &str) -> bool {
    let (is_valid_host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            (!name.is_empty() && is_registered_name(name), port)
        }
    };
    is_valid_host && is_port(port)
}

/// Letters, digits, `-._~!$&'()*+,;=`, and percent-encoded bytes.
fn is_registered_name(name: &str) -> bool {
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte))
    };
    let is_encoded = |piece: &str| match piece.split_at_checked(2) {
        Some((byte, rest)) => byte.bytes().all(|digit| digit.is_ascii_hexdigit()) && is_plain(rest),
        None => false,
    };
    let mut pieces = name.split('%');
    pieces.next().is_some_and(is_plain) && pieces.all(is_encoded)
}

/// Nothing, or a colon and a port, which may be empty.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty() };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    digits.is_empty() || is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in
            ["x", "localhost:3000", "127.0.0.1", "[::1]", "[::1]:3000", "a.b-c_d:", "EXAMPLE.org:80", "%41.b"]
        {
            assert!(is_valid(host), "{host}");
        }
        for host in [
            "", ":80", "a b", "x, y", "user@x", "x:y", "x:-1", "x:80:80", "http://x", "x/y", "::1", "[::1",
            "x?y", "x#y", "a\\b", "[zz]", "[::1]x", "x:65536", "%4", "%zz",
        ] {
            assert!(!is_valid(host), "{host}");
        }
    }
}
