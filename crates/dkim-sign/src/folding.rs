//! A header field whose lines end before column 78 (RFC 5322 §2.1.1) wherever white space may
//! stand.

/// Columns of a line.
const WIDTH: usize = 76;

/// The value of a field as it grows. A line is continued by CRLF and one space.
pub(crate) struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    /// `name` and a colon stand on the first line.
    pub fn new(name: &str) -> Self {
        Self {
            text: String::new(),
            column: name.len() + 1,
        }
    }

    /// Adds a text that can't be folded, behind a space.
    pub fn word(&mut self, text: &str) {
        if self.column + 1 + text.len() > WIDTH {
            self.text.push_str("\r\n");
            self.column = 0;
        }
        self.text.push(' ');
        self.text.push_str(text);
        self.column += 1 + text.len();
    }

    /// Adds a text that can't be folded. White space may stand before it.
    pub fn attach(&mut self, text: &str) {
        if self.column + text.len() > WIDTH {
            return self.word(text);
        }
        self.text.push_str(text);
        self.column += text.len();
    }

    /// Adds ASCII characters between any of which white space may stand.
    pub fn characters(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.column >= WIDTH {
                self.text.push_str("\r\n ");
                self.column = 1;
            }
            let (part, after) = rest.split_at(rest.len().min(WIDTH - self.column));
            self.text.push_str(part);
            self.column += part.len();
            rest = after;
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}
