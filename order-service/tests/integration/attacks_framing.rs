//! Where one request ends and the next begins, and what is no request at all.

use uuid::Uuid;

use crate::fixture::alone;
use crate::fixture::raw::{exchange, head, post_head, statuses};

const BODY: &str = r#"{"productId":"1","quantity":1}"#;
/// What an attacker hides in a body, for the server to take as a request of its own.
const HIDDEN: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_length_that_is_told_twice_or_wrongly_never_hides_a_second_request() {
    let (files, app) = alone(&[]).await;
    let (head, hidden, length) = (post_head(), HIDDEN, BODY.len());
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    let long = length + hidden.len();
    let cases = [
        (
            "both, chunks first",
            format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{chunked}{hidden}"),
            "201",
        ),
        (
            "both, length first",
            format!("Content-Length: {long}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}{hidden}"),
            "201",
        ),
        (
            "two lengths",
            format!("Content-Length: {length}\r\nContent-Length: {long}\r\n\r\n{BODY}{hidden}"),
            "400",
        ),
        ("a list of lengths", format!("Content-Length: {length}, {long}\r\n\r\n{BODY}{hidden}"), "400"),
        ("a signed length", format!("Content-Length: +{length}\r\n\r\n{BODY}{hidden}"), "400"),
        ("a negative length", format!("Content-Length: -1\r\n\r\n{BODY}{hidden}"), "400"),
        (
            "a length beyond 64 bits",
            format!("Content-Length: 99999999999999999999\r\n\r\n{BODY}{hidden}"),
            "400",
        ),
        ("not chunked at last", format!("Transfer-Encoding: chunked, gzip\r\n\r\n{chunked}{hidden}"), "400"),
        ("another encoding", format!("Transfer-Encoding: xchunked\r\n\r\n{chunked}{hidden}"), "400"),
        ("a space before the colon", format!("Transfer-Encoding : chunked\r\n\r\n{chunked}{hidden}"), "400"),
        ("a folded header", format!("Transfer-Encoding:\r\n chunked\r\n\r\n{chunked}{hidden}"), "400"),
        (
            "a wrong chunk size",
            format!("Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n{hidden}"),
            "400",
        ),
        ("a NUL in a header", format!("X: a\0b\r\nContent-Length: {length}\r\n\r\n{BODY}{hidden}"), "400"),
        ("a CR in a header", format!("X: a\rb\r\nContent-Length: {length}\r\n\r\n{BODY}{hidden}"), "400"),
    ];
    let mut stored = 0;
    for (name, rest, status) in cases {
        let answer = exchange(&app.url, format!("{head}{rest}")).await;
        assert_eq!(statuses(&answer), [status], "{name}: {answer}");
        assert!(!answer.contains("alive"), "{name}: the hidden request was answered: {answer}");
        stored += i64::from(status == "201");
    }
    assert_eq!(files.look().orders().await, stored);
}

#[tokio::test]
async fn what_follows_a_body_is_the_next_request_and_what_is_in_it_never_is() {
    let (files, app) = alone(&[]).await;
    let last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let length = HIDDEN.len();
    // Refused before its body is read, by its token or its type.
    for head in [
        "POST /orders HTTP/1.1\r\nHost: x\r\n".to_owned(),
        post_head().replace("application/json", "text/plain"),
    ] {
        let answer =
            exchange(&app.url, format!("{head}Content-Length: {length}\r\n\r\n{HIDDEN}{last}")).await;
        assert!(!answer.contains("alive"), "the body was taken as a request: {answer}");
        assert!(matches!(*statuses(&answer), ["401" | "415"] | ["401" | "415", "404"]), "{answer}");
    }
    // A method that usually has no body.
    let answer = exchange(
        &app.url,
        format!("GET /orders HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{HIDDEN}{last}"),
    )
    .await;
    assert!(!answer.contains("alive"), "{answer}");
    // A line may end with LF alone (RFC 9112, section 2.2); the body still ends where its length says.
    let lines = post_head().replace("\r\n", "\n");
    let answer = exchange(&app.url, format!("{lines}Content-Length: {}\n\n{BODY}{last}", BODY.len())).await;
    assert_eq!(statuses(&answer), ["201", "404"], "{answer}");
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_old_http_is_served() {
    let (_files, app) = alone(&[]).await;
    for (name, bytes) in [
        ("TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/3.0", b"GET /livez HTTP/3.0\r\n\r\n"),
        ("no version", b"GET /livez\r\n\r\n"),
        ("garbage", b"\0\xff\xfe\r\n\r\n"),
        ("a NUL in the path", b"GET /livez\0 HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("HTTP/1.0 in chunks", b"POST /orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let answer = exchange(&app.url, bytes).await;
        assert!(matches!(*statuses(&answer), [] | ["400"]), "{name}: {answer}");
    }
    let answer = exchange(&app.url, "GET /livez HTTP/1.0\r\n\r\n").await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let asked = format!(
        "{}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        post_head(),
        BODY.len()
    );
    let answer = exchange(&app.url, format!("{asked}{BODY}")).await;
    assert_eq!(statuses(&answer), ["100", "201"], "{answer}");
}

#[tokio::test]
async fn a_request_names_its_host_once_and_validly() {
    let (_files, app) = alone(&[]).await;
    let get = |version: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        format!("GET /livez HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n")
    };
    for (request, status) in [
        (get("1.1", &["x"]), "200"),
        (get("1.1", &["127.0.0.1:3000"]), "200"),
        (get("1.1", &["[::1]:3000"]), "200"),
        (get("1.0", &[]), "200"),
        (get("1.0", &["x"]), "200"),
        (get("1.1", &[]), "400"),
        (get("1.1", &["x", "x"]), "400"),
        (get("1.1", &["x", "y"]), "400"),
        (get("1.0", &["x", "y"]), "400"),
        (get("1.1", &[""]), "400"),
        (get("1.1", &["a b"]), "400"),
        (get("1.1", &["x, y"]), "400"),
        (get("1.1", &["user@x"]), "400"),
        (get("1.1", &["x:http"]), "400"),
        (get("1.1", &["x/livez"]), "400"),
        (get("1.1", &["h\u{f6}st"]), "400"),
        // The target's own host counts, and `Host` is required all the same.
        (get("1.1", &["x"]).replace("/livez", "http://elsewhere.example/livez"), "200"),
        (get("1.1", &[]).replace("/livez", "http://elsewhere.example/livez"), "400"),
    ] {
        let answer = exchange(&app.url, &request).await;
        assert_eq!(statuses(&answer), [status], "{request:?}: {answer}");
        assert!(status == "200" || answer.contains(r#""field":"Host""#), "{request:?}: {answer}");
    }
    app.stop().await;
}

#[tokio::test]
async fn too_long_a_path_and_too_many_or_too_large_headers_are_refused() {
    let (_files, app) = alone(&[]).await;
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let headers = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    for (name, request, status) in [
        ("a path of 100 KB", get(&format!("/{}", "a".repeat(100 * 1024)), ""), "431"),
        ("a header of 100 KB", get("/livez", &format!("X: {}\r\n", "y".repeat(100 * 1024))), "431"),
        ("10,000 headers", get("/livez", &headers(10_000)), "431"),
        ("65 headers", get("/livez", &headers(63)), "431"),
        ("64 headers", get("/livez", &headers(62)), "200"),
        ("a path of 20 KB", get(&format!("/{}", "a".repeat(20 * 1024)), ""), "404"),
        ("a query of 20 KB", get(&format!("/livez?{}", "a".repeat(20 * 1024)), ""), "200"),
    ] {
        let answer = exchange(&app.url, request).await;
        assert_eq!(statuses(&answer), [status], "{name}: {answer:.300}");
    }
}

#[tokio::test]
async fn a_path_is_taken_as_it_is_spelled() {
    let (_files, app) = alone(&[]).await;
    let id = app.user("alice").place("1", 1).await;
    let get =
        async |path: &str| exchange(&app.url, head("GET", path, "alice") + "Connection: close\r\n\r\n").await;
    assert_eq!(statuses(&get(&format!("/orders/{id}")).await), ["200"]);
    for path in [
        "/orders/%00",
        "/orders/%2e%2e/livez",
        "/orders/../livez",
        "/orders/%2e%2e%2flivez",
        "/orders/..%5clivez",
        "/orders%2f",
        "/orders/",
        "//orders",
        "/ORDERS",
        "/livez/",
        "/./livez",
        "/%6civez%00",
        "/orders/%ff%fe",
        "/orders/%zz",
        "/admin/../orders",
        &format!("/orders/{id}%00"),
        &format!("/orders/{id}%20"),
        &format!("/orders/{id}%2f"),
        &format!("/orders/{id}/."),
        &format!("/orders//{id}"),
        &format!("/orders;x/{id}"),
    ] {
        let answer = get(path).await;
        assert_eq!(statuses(&answer), ["404"], "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
    }
    // An absolute URI and a foreign Host name no other service.
    assert_eq!(statuses(&get(&format!("http://elsewhere.example/orders/{id}")).await), ["200"]);
}

#[tokio::test]
async fn a_request_id_with_a_line_end_or_an_escape_is_replaced() {
    let (_files, app) = alone(&[]).await;
    for id in ["a\r\n b", "a\nX-Evil: 1", "a%0d%0aX-Evil: 1", "a\tb", "\u{e9}", "a\u{85}b", "a;b"] {
        let request =
            format!("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: {id}\r\n\r\n");
        let answer = exchange(&app.url, request).await;
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(!head.contains("x-evil") && !answer.contains("\u{85}"), "{id:?}: {answer}");
        match *statuses(&answer) {
            ["404"] => {
                let kept = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
                // A line end ends the header: what stood before it is a sane id.
                assert!(kept == "a" || Uuid::parse_str(kept).is_ok(), "{id:?}: {answer}");
            }
            _ => assert_eq!(statuses(&answer), ["400"], "{id:?}: {answer}"),
        }
    }
}

#[tokio::test]
async fn a_body_of_a_megabyte_is_refused_however_its_length_is_told() {
    let (files, app) = alone(&[]).await;
    let (head, megabyte) = (post_head(), " ".repeat(1024 * 1024));
    let chunks = "4000\r\n".to_owned() + &" ".repeat(0x4000) + "\r\n";
    for (name, rest) in [
        ("a length", format!("Content-Length: {}\r\n\r\n{megabyte}", megabyte.len())),
        ("chunks", format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks.repeat(64))),
        ("one chunk", format!("Transfer-Encoding: chunked\r\n\r\n100000\r\n{megabyte}\r\n0\r\n\r\n")),
        (
            "tiny chunks",
            format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "1\r\n \r\n".repeat(170_000)),
        ),
    ] {
        let answer = exchange(&app.url, format!("{head}{rest}")).await;
        assert_eq!(statuses(&answer), ["413"], "{name}: {answer}");
        assert!(answer.contains("application/problem+json"), "{name}: {answer}");
    }
    assert_eq!(files.look().orders().await, 0);
}

#[tokio::test]
async fn a_method_that_no_route_has_is_refused() {
    let (_files, app) = alone(&[]).await;
    for method in ["TRACE", "OPTIONS", "PATCH", "PROPFIND", "get", "FOO"] {
        let request = format!("{method} /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = exchange(&app.url, request).await;
        assert_eq!(statuses(&answer), ["405"], "{method}: {answer}");
        assert!(answer.contains("application/problem+json"), "{method}: {answer}");
    }
    let tunnel = "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&exchange(&app.url, tunnel).await), ["404"], "no path, no tunnel");
}
