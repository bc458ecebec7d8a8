use tonic::{Code, Status};

use super::{CliError, Exit};

#[test]
fn each_answer_of_the_controller_has_its_exit_code() {
    let table = [
        (Code::InvalidArgument, 3),
        (Code::NotFound, 3),
        (Code::Aborted, 3),
        (Code::FailedPrecondition, 3),
        (Code::ResourceExhausted, 3),
        (Code::Unavailable, 4),
        (Code::DeadlineExceeded, 4),
        (Code::Unauthenticated, 5),
        (Code::PermissionDenied, 5),
        (Code::Internal, 1),
        (Code::Unimplemented, 1),
        (Code::DataLoss, 1),
    ];
    for (code, exit) in table {
        let error = CliError::from_status(&Status::new(code, "x"), "https://c:1");
        assert_eq!(error.exit.code(), exit, "{code:?}");
    }
}

#[test]
fn the_controllers_code_and_mend_are_told_apart_from_its_message() {
    let text = "REVISION_CONFLICT: the fleet is at revision 8, not 7; look; then apply";
    let error = CliError::from_status(&Status::aborted(text), "https://c:1");
    let expected = CliError::new(
        Exit::Refused,
        "REVISION_CONFLICT",
        "the fleet is at revision 8, not 7",
        "look; then apply",
    );
    assert_eq!(error, expected);
    let plain = CliError::from_status(&Status::not_found("Nothing: here; really"), "https://c:1");
    assert_eq!(
        (plain.code.as_str(), plain.message.as_str()),
        ("NOT_FOUND", "Nothing: here; really")
    );
    let bare = CliError::from_status(&Status::not_found("SITE_UNKNOWN: no x"), "https://c:1");
    assert_eq!((bare.code.as_str(), bare.mend.as_str()), ("SITE_UNKNOWN", ""));
}

#[test]
fn a_faulty_document_counts_its_faults() {
    let one = CliError::faulty(vec![Default::default()]);
    let two = CliError::faulty(vec![Default::default(); 2]);
    assert_eq!(one.message, "the document has 1 fault; nothing was applied");
    assert_eq!(two.message, "the document has 2 faults; nothing was applied");
    assert_eq!(two.exit.code(), 3);
}
