//! A growing buffer that leaves no copy of its content behind.

use smtp_core::secret::Secret;
use zeroize::Zeroizing;

/// Octets that are zeroed when dropped, and when the buffer moves to a larger allocation.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    pub fn push(&mut self, octets: &[u8]) {
        let needed = self.0.len() + octets.len();
        if needed > self.0.capacity() {
            let capacity = needed.max(2 * self.0.capacity()).max(256);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(octets);
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub fn into_secret(mut self) -> Secret {
        Secret::new(std::mem::take(&mut *self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_does_not_depend_on_how_it_was_added() {
        let mut buffer = SecretBuffer::default();
        let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
        all.chunks(7).for_each(|part| buffer.push(part));
        assert_eq!(buffer.as_slice(), all);
        assert_eq!(buffer.into_secret().expose(), all);
    }
}
