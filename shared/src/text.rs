//! What a text may hold, and texts that come in odd clothes.

use std::any::Any;

/// Whether `text` has 1 to `max_chars` characters, none of them U+0000, at which SQLite's `length` stops counting.
pub fn is_text(text: &str, max_chars: usize) -> bool {
    (1..=max_chars).contains(&text.chars().count()) && !text.contains('\0')
}

/// Some editors and libraries begin UTF-8 with U+FEFF. A parser of JSON may ignore it (RFC 8259, section 8.1).
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// `panic!` carries a `String`, or a `&str` when its text has no values in it.
pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
