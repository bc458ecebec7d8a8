use super::{Node, read};
use crate::fault::code;
use crate::limits::MAX_DOCUMENT_BYTES;

fn code_of(document: impl AsRef<[u8]>) -> (&'static str, String) {
    let fault = read(document.as_ref()).unwrap_err();
    (fault.code, fault.path)
}

#[test]
fn a_document_that_can_not_be_read_has_one_fault_with_its_place() {
    let table: &[(&[u8], &str, &str)] = &[
        (b"", code::DOCUMENT_EMPTY, ""),
        (b"# nothing\n", code::DOCUMENT_EMPTY, ""),
        (b"\xff\xfe", code::DOCUMENT_ENCODING, ""),
        (b"a: [1, 2\nb: 3\n", code::DOCUMENT_SYNTAX, "line 2, column 2"),
        (b"a: b: c\n", code::DOCUMENT_SYNTAX, "line 1, column 5"),
        (b"a: *nowhere\n", code::DOCUMENT_SYNTAX, "line 1, column 4"),
        (b"a: 1\n---\na: 2\n", code::DOCUMENT_SYNTAX, "line 3, column 1"),
        (b"x: &x {a: 1}\ny: {<<: *x}\n", code::DOCUMENT_SYNTAX, "line 2, column 5"),
    ];
    let found: Vec<_> = table.iter().map(|(document, ..)| code_of(document)).collect();
    let expected: Vec<_> =
        table.iter().map(|(_, code, path)| (*code, (*path).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_document_over_4_mib_is_one_fault_and_is_not_read() {
    let mut document = b"fleet: acme\n".to_vec();
    document.resize(10 * 1024 * 1024, b'#');
    assert_eq!(code_of(&document).0, code::DOCUMENT_TOO_LARGE);
    document.truncate(MAX_DOCUMENT_BYTES);
    assert!(read(&document).is_ok());
}

#[test]
fn nesting_and_aliases_are_bounded() {
    let deep_yaml = format!("a: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_json = format!("{{\"a\": {}{}}}", "[".repeat(100), "]".repeat(100));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{},", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let block: String = (0..100).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    for document in [deep_yaml, deep_json, laughs, block] {
        let shown: String = document.chars().take(40).collect();
        assert_eq!(code_of(&document).0, code::DOCUMENT_TOO_COMPLEX, "{shown}");
    }
}

#[test]
fn json_and_yaml_say_the_same() {
    let yaml = "a: 1\nb: [true, 2.5, x]\nc: {d: null}\n";
    let json = "{\n\t\"a\": 1, \"b\": [true, 2.5, \"x\"],\n\t\"c\": {\"d\": null}}";
    assert_eq!(read(yaml.as_bytes()), read(json.as_bytes()));
    let flow = "{a: 1, b: [true, 2.5, x], c: {d: null}} # YAML that begins like JSON";
    assert_eq!(read(yaml.as_bytes()), read(flow.as_bytes()));
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let expected = Node::Map(vec![("a".to_owned(), Node::Integer(1))]);
    assert_eq!(read("\u{feff}a: 1".as_bytes()), Ok(expected));
}

#[test]
fn duplicate_keys_are_kept_for_the_decoder() {
    for document in ["a: 1\na: 2\n", "{\"a\": 1, \"a\": 2}"] {
        let Ok(Node::Map(fields)) = read(document.as_bytes()) else { panic!("{document}") };
        assert_eq!(fields.len(), 2, "{document}");
    }
}
