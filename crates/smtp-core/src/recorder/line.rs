//! MAIL and RCPT as lines that a client wrote itself (RFC 5321 §4.1.2).

/// What follows a keyword, in any case, and the spaces behind it.
pub fn strip_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (found, rest) = text.split_at_checked(keyword.len())?;
    found
        .eq_ignore_ascii_case(keyword)
        .then(|| rest.trim_start_matches(' '))
}

/// Splits a path, with or without its brackets, from the parameters behind it.
pub fn address_and_parameters(text: &str) -> Option<(&str, &str)> {
    let end = match text.starts_with('<') {
        true => closing_bracket(text)? + 1,
        false => text.find(' ').unwrap_or(text.len()),
    };
    let (address, parameters) = text.split_at(end);
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((address, parameters))
}

/// The first `>` outside of quotes.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}
