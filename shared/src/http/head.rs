//! What the head of every request must say: one valid `Host` (RFC 9112, section 3.2), and no transfer coding but chunks.
//!
//! Two hosts that differ may name one service to a proxy in front and another one to what is behind it; a coding that is not undone
//! here gives a proxy that undoes it another body.

use std::net::Ipv6Addr;

use axum::extract::Request;
use axum::http::{HeaderMap, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

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

/// The rule that the `Host` breaks. HTTP/1.0 knows requests without one.
fn host_rule(headers: &HeaderMap, version: Version) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => None,
        (None, _) => Some("is required"),
        (Some(_), Some(_)) => Some("must be given once"),
        (Some(host), None) if host.to_str().is_ok_and(is_valid) => None,
        (Some(_), None) => Some("must be a name or an address, with or without a port"),
    }
}

fn coding_rule(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &axum::http::HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if is_chunked(coding) => None,
        _ => Some("must be chunked and nothing else"),
    }
}

/// `uri-host [ ":" port ]` (RFC 3986, section 3.2). An http URI with an empty host is invalid (RFC 9110, section 4.2.1).
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
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => {
            digits.is_empty()
                || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    }
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
