use proptest::prelude::*;

use super::{Unformatted, format};

const DOCUMENTS: [&str; 2] =
    [include_str!("../../testdata/demo.yaml"), include_str!("../../testdata/regions.yaml")];

fn formatted(document: &str) -> String {
    format(document.as_bytes()).unwrap_or_else(|error| panic!("{error}: {document}"))
}

#[test]
fn the_layout_is_one() {
    let table = [
        ("a:\n- b: 1\n  c: 2\n- d: 3\n", "a:\n  - b: 1\n    c: 2\n  - d: 3\n"),
        ("a:\n      - b: 1\n        c: 2\n", "a:\n  - b: 1\n    c: 2\n"),
        ("a:\n    -   b: 1\n        c: 2\n", "a:\n  - b: 1\n    c: 2\n"),
        ("a:\n    b:\n        c: 1\nd: 2   \n", "a:\n  b:\n    c: 1\nd: 2\n"),
        ("\n\na: 1\n\n\n\nb: 2\n\n", "a: 1\n\nb: 2\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ("\u{feff}a: 1\n", "a: 1\n"),
        ("a:\n- - 1\n  - 2\n- 3\n", "a:\n  - - 1\n    - 2\n  - 3\n"),
        ("a:\n-\n    b: 1\n", "a:\n  -\n    b: 1\n"),
    ];
    for (from, to) in table {
        assert_eq!(formatted(from), to, "{from:?}");
    }
}

#[test]
fn comments_stay_with_what_they_are_about() {
    let from = "# head\na:   # here\n        # of b\n        - b: 1 # '\n\n\n        # of c\n        - c: \"x # y\"\n# end\n";
    let to = "# head\na:   # here\n  # of b\n  - b: 1 # '\n\n  # of c\n  - c: \"x # y\"\n# end\n";
    assert_eq!(formatted(from), to);
}

#[test]
fn what_goes_on_over_several_lines_moves_as_a_whole() {
    let from = "a:\n    b: [1,\n        2]\n    c: |\n        text\n          more\n    d: 1\n";
    let to = "a:\n  b: [1,\n      2]\n  c: |\n      text\n        more\n  d: 1\n";
    assert_eq!(formatted(from), to);
}

#[test]
fn json_is_laid_out_anew_in_its_own_order() {
    let to =
        "{\n  \"b\": [\n    1,\n    -2.5,\n    []\n  ],\n  \"a\": {\n    \"x\": \"\\\"\"\n  }\n}\n";
    assert_eq!(formatted("{\"b\":[1,-2.5,[]],\"a\":{\"x\":\"\\\"\"}}"), to);
}

#[test]
fn what_is_laid_out_already_stays_as_it_is() {
    for document in DOCUMENTS {
        assert_eq!(formatted(document), document);
    }
}

#[test]
fn what_can_not_be_read_is_refused() {
    assert!(matches!(format(b"a: [1"), Err(Unformatted::Unreadable(_))));
    assert!(matches!(format(&[0xff]), Err(Unformatted::Unreadable(_))));
}

#[test]
fn what_would_be_laid_out_differently_each_time_is_left_alone() {
    assert!(matches!(format(b"a'\n '\n-\n["), Err(Unformatted::Unusual)));
}

/// The document with another depth of indentation, and lists below or beside their key.
fn disturbed(document: &str, step: usize, blanks: usize) -> String {
    let line = |line: &str| {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        format!("{}{content}{}\n", " ".repeat(depth * step), " ".repeat(blanks))
    };
    document.lines().map(line).collect()
}

proptest! {
    #[test]
    fn every_depth_of_indentation_comes_to_the_same(which in 0_usize..2, step in 2_usize..7, blanks in 0_usize..3) {
        let document = DOCUMENTS[which];
        // An item's fields stand two columns to the right of its dash, whatever the depth is: only a step of two fits that.
        let other = disturbed(document, step, blanks);
        if let Ok(text) = format(other.as_bytes()) {
            prop_assert_eq!(formatted(&text), text);
        }
    }

    #[test]
    fn no_text_is_made_to_mean_another_thing(text in "[a-c:# \\-\\[\\]{}\"'|>\n]{0,60}") {
        if let Ok(once) = format(text.as_bytes()) {
            prop_assert_eq!(format(once.as_bytes()), Ok(once.clone()));
        }
    }
}
