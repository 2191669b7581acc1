//! Taking credentials out of text that people will read.
//!
//! Works on any text, not only on well-formed URLs: output of commands, log lines, entries that could not be
//! parsed. Where it is not certain what is a password, more is masked rather than less.

/// What stands in place of a user name and a password.
const MASK: &str = "***";

/// Masks the user name and password of every URL in a text: `https://***@host/path`.
///
/// `user:password@host` without a scheme, and passwords that contain an unescaped `/`, are recognised as well.
pub fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(index) = rest.find(is_end) {
        redact_word(&rest[..index], &mut redacted);
        let end = index + rest[index..].chars().next().map_or(0, char::len_utf8);
        redacted.push_str(&rest[index..end]);
        rest = &rest[end..];
    }
    redact_word(rest, &mut redacted);
    redacted
}

/// Characters that end a URL in running text, and cannot stand in it unescaped.
fn is_end(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '`' | '<' | '>')
}

/// Appends a piece of text without [ends](is_end), masked.
fn redact_word(mut word: &str, redacted: &mut String) {
    while let Some((before, credentials, after)) = split_credentials(word) {
        redacted.push_str(before);
        if !credentials.is_empty() {
            redacted.push_str(MASK);
        }
        word = after;
    }
    redacted.push_str(word);
}

/// The text up to the next credentials, those (empty for a URL without any), and what follows; `None` if none do.
fn split_credentials(word: &str) -> Option<(&str, &str, &str)> {
    let start = match word.find("://") {
        Some(index) => index + "://".len(),
        None => word.find(':')? + 1,
    };
    let has_scheme = word[..start].ends_with("://");
    let (before, rest) = word.split_at(start);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let end = match authority.rfind('@') {
        Some(end) => end,
        None if has_scheme && !ends_in_port(authority) => rest.rfind('@').unwrap_or(0),
        None if has_scheme => 0,
        None => return None,
    };
    Some((before, &rest[..end], &rest[end..]))
}

/// Whether this is a host with a port, or without: what follows a colon in a user name is no number.
fn ends_in_port(authority: &str) -> bool {
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    authority.starts_with('[') || authority.split_once(':').is_none_or(|(_, port)| is_number(port))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn credentials_of_every_url_are_masked() {
        for (text, expected) in [
            ("https://user:secret@host/simple", "https://***@host/simple"),
            ("https://token@host", "https://***@host"),
            ("git+ssh://git@host/r.git@v1", "git+ssh://***@host/r.git@v1"),
            (
                "--extra-index-url=http://a:b@h1,http://c:d@h2/x",
                "--extra-index-url=http://***@h1,http://***@h2/x",
            ),
            ("no \"https://a:b@h\" and `https://c:d@h`.", "no \"https://***@h\" and `https://***@h`."),
            ("x @ https://u:p@host/x.whl", "x @ https://***@host/x.whl"),
            ("https://u:p@ss@host/x", "https://***@host/x"),
            ("line one\nhttps://u:p@host\n", "line one\nhttps://***@host\n"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn what_is_no_proper_url_is_masked_all_the_same() {
        assert_eq!(redact("https://user:sec/ret@host/x"), "https://***@host/x");
        assert_eq!(redact("https://user:sec#ret@host/x"), "https://***@host/x");
        assert_eq!(redact("https:user:secret@host/x"), "https:***@host/x");
        assert_eq!(redact("user:secret@host"), "user:***@host");
        assert_eq!(redact("user:sécret@hôte wörd"), "user:***@hôte wörd");
    }

    #[test]
    fn text_without_credentials_stays_as_it_is() {
        for text in [
            "",
            "numpy>=2 ; python_version > '3.9'",
            "git+https://host/owner/repository.git@v1.0#egg=x",
            "https://host:8080/a@b",
            "https://[::1]:80/a@b",
            "error: mail somebody@example.org",
            "name @ https://host/x.whl",
            "a: b: c://",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
