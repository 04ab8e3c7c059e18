//! What is wrong with parts of a wallet that is usable as a whole.

use crate::x509::{IssuerFault, ListFault};

/// A file or block that is not used, or is risky to use. The texts name files and lines, never what
/// is in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Other users may write to the wallet's directory.
    #[error("wallet directory \"{0}\" can be written by others than its owner")]
    DirectoryWritable(String),

    /// A file is not used.
    #[error("file \"{file}\" is not used: {problem}")]
    File {
        /// The file in the wallet's directory.
        file: String,
        /// Why not.
        problem: FileProblem,
    },

    /// A PEM block is not used.
    #[error("file \"{file}\", line {line}: this block is not used: {problem}")]
    Block {
        /// The file in the wallet's directory.
        file: String,
        /// The line that the block begins on, counted from 1.
        line: usize,
        /// Why not.
        problem: BlockProblem,
    },

    /// A private key is not used, because its file has no certificate.
    #[error("file \"{0}\": the private key is not used: its certificate is not in the same file")]
    KeyWithoutCertificate(String),

    /// A client identity is not used, because an earlier file has one.
    #[error(
        "file \"{file}\": this client identity is not used: the one in \"{first}\" comes first"
    )]
    SecondIdentity {
        /// The file of the unused identity.
        file: String,
        /// The file of the identity that is used.
        first: String,
    },

    /// A certificate can be neither an issuer nor the certificate of a server.
    #[error(
        "file \"{file}\": the certificate of \"{subject}\" is of no use: {fault}, and it has no \
         subject alternative name of a server"
    )]
    UselessCertificate {
        /// The file in the wallet's directory.
        file: String,
        /// What to call the certificate.
        subject: String,
        /// Why it can't be an issuer.
        fault: IssuerFault,
    },

    /// A revocation list is used, but is incomplete, expired or not by its issuer.
    #[error("file \"{file}\": the revocation list of \"{issuer}\" {fault}")]
    RevocationList {
        /// The file in the wallet's directory.
        file: String,
        /// The issuer that the list names.
        issuer: String,
        /// What is wrong with the list.
        fault: ListFault,
    },
}

/// Why a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// A directory, a pipe, a device, or a link to one.
    #[error("it is not a regular file")]
    NotRegular,
    /// A symbolic link whose target does not exist.
    #[error("it is a link to nothing")]
    DanglingLink,
    /// A symbolic link to a place outside of the allowed directories, whether it exists or not.
    #[error("it is a link that leaves the allowed directories")]
    LeavesRoots,
    /// Neither PEM nor a DER certificate.
    #[error("it has no PEM block in it")]
    NoPem,
    /// A DER certificate in a file named `*.pem`.
    #[error("it is DER under the name of a PEM file")]
    DerNamedPem,
}

/// Why a PEM block is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockProblem {
    /// The labels of its BEGIN and END lines differ.
    #[error("its END line names something else")]
    OtherEnd,
    /// The next block, or the end of the file, comes before its END line.
    #[error("it has no END line")]
    NoEnd,
    /// The label is not UTF-8.
    #[error("its label is not text")]
    Label,
    /// The content is not base64.
    #[error("it is not base64")]
    NotBase64,
    /// There is no content.
    #[error("it is empty")]
    Empty,
    /// The content of a `CERTIFICATE` block is not one.
    #[error("it is not a certificate")]
    NotCertificate,
    /// The content of an `X509 CRL` block is not one.
    #[error("it is not a revocation list")]
    NotRevocationList,
    /// The label is of a kind that a wallet does not use.
    #[error("it is of a kind that has no use here")]
    Kind,
    /// A second private key in one file.
    #[error("the file has a private key already")]
    SecondKey,
}
