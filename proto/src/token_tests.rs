use super::*;

fn token() -> EnrolmentToken {
    EnrolmentToken {
        controllers: vec!["ctl.example:4511".into(), "[2001:db8::1]:4511".into()],
        root_pin: [7; 32],
        secret: [9; 16],
        edge: "hq-1".into(),
    }
}

#[test]
fn text_and_back_is_the_same_token() {
    let text = token().to_string();
    assert!(text.starts_with(PREFIX));
    assert_eq!(format!(" {text}\n").parse(), Ok(token()));
}

#[test]
fn a_token_cut_off_anywhere_is_refused() {
    let text = token().to_string();
    for length in 0..text.len() {
        assert!(text[..length].parse::<EnrolmentToken>().is_err(), "{length}");
    }
}

#[test]
fn debug_never_shows_the_secret() {
    let mut token = token();
    token.secret = *b"sixteen-octets!!";
    let debug = format!("{token:?}");
    assert!(debug.contains("redacted"));
    assert!(!debug.contains("115, 105, 120"), "{debug}");
}

#[test]
fn other_texts_are_refused_with_a_stable_code() {
    for (text, code) in [
        ("", "TOKEN_NOT_A_TOKEN"),
        ("hawser2.AAAA", "TOKEN_NOT_A_TOKEN"),
        ("hawser1.", "TOKEN_INCOMPLETE"),
        ("hawser1.!!!!", "TOKEN_DAMAGED"),
        (&"x".repeat(MAX_TEXT_BYTES + 1), "TOKEN_TOO_LONG"),
    ] {
        let error = text.parse::<EnrolmentToken>().unwrap_err();
        assert_eq!(error.code(), code, "{text:.20}");
    }
}
