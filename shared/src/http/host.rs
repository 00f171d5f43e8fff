//! The `Host` of a request: there, once, and valid (RFC 9112, section 3.2).
//!
//! Two that differ may name one service to a proxy in front and another one to what is behind it.

use axum::{
    extract::Request,
    http::{Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::problem::Problem;

/// Lets a request through whose `Host` is as it must be; any other is answered 400. HTTP/1.0 knows requests without one.
pub async fn check(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let rule = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (None, _) => Some("is required"),
        (Some(_), Some(_)) => Some("must be given once"),
        (Some(host), None) if host.to_str().is_ok_and(is_valid) => None,
        (Some(_), None) => Some("must be a name or an address, with or without a port"),
    };
    match rule {
        None => next.run(request).await,
        Some(rule) => Problem::invalid("Host", rule).into_response(),
    }
}

/// `uri-host [ ":" port ]`. An http URI with an empty host is invalid (RFC 9110, section 4.2.1).
fn is_valid(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let (name, port) = (authority.host(), host.strip_prefix(authority.host()));
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    !name.is_empty() && port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["x", "localhost:3000", "127.0.0.1", "[::1]", "[::1]:3000", "a.b-c_d:", "EXAMPLE.org:80"]
        {
            assert!(is_valid(host), "{host}");
        }
        for host in [
            "", ":80", "a b", "x, y", "user@x", "x:y", "x:-1", "x:80:80", "http://x", "x/y", "::1", "[::1",
            "x?y", "x#y", "a\\b",
        ] {
            assert!(!is_valid(host), "{host}");
        }
    }
}
