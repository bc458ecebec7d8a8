//! The link to the controller: identity, enrolment, the ledger of generations, the stream.
