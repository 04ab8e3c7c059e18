//! The questions that threads wait with.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use oauth2_token::Token;
use pgrx::pg_sys;
use smtp_core::secret::Secret;

use super::Engine;
use super::group::Group;
use super::remote::Question;
use crate::conversation::authority::{Authority, Backend};
use crate::conversation::token::TokenSource;
use crate::delivery::store::refresh_token;
use crate::errors::Report;
use crate::pg::background::{self, Failure};
use crate::servers::Mapping;

type TokenAnswer = mpsc::Sender<Result<Option<TokenSource>, Report>>;

#[derive(Default)]
pub struct Questions {
    asked: Vec<Question>,
    /// The mappings that a token is being fetched for, and who waits for it besides.
    fetching: HashMap<pg_sys::Oid, Vec<(Arc<Group>, TokenAnswer)>>,
    /// Refresh tokens that were got and could not be stored, by their mappings.
    unstored: HashMap<pg_sys::Oid, (Arc<Mapping>, Secret)>,
}

impl Questions {
    pub fn add(&mut self, question: Question) {
        self.asked.push(question);
    }

    /// Nobody gets an answer.
    pub fn refuse(&mut self) {
        self.asked.clear();
        self.fetching.clear();
    }
}

impl Engine {
    /// Answers what was asked. A question that fails gets no answer.
    pub(super) fn answer_questions(&mut self) {
        while !self.questions.asked.is_empty() {
            for question in std::mem::take(&mut self.questions.asked) {
                match question {
                    Question::Read(read) => {
                        if let Err(failure) = background::transaction(read) {
                            failure.log();
                        }
                    }
                    Question::Token { group, answer } => self.token(group, answer),
                    Question::Granted {
                        group,
                        granted,
                        answer,
                    } => self.granted(&group, *granted, &answer),
                }
            }
        }
    }

    /// One thread fetches a token, the others wait for it.
    fn token(&mut self, group: Arc<Group>, answer: TokenAnswer) {
        let login = &group.login;
        let Some(mapping) = login.mapping.clone() else {
            let _ = answer.send(Ok(None));
            return;
        };
        let key = mapping.token_key.mapping;
        if let Some(waiting) = self.questions.fetching.get_mut(&key) {
            waiting.push((group, answer));
            return;
        }
        let server = Arc::clone(&login.server);
        match background::transaction(|| Backend.token(&server, &mapping)) {
            Ok(source) => {
                if matches!(source, Ok(Some(TokenSource::Endpoint(_)))) {
                    self.questions.fetching.insert(key, Vec::new());
                }
                let _ = answer.send(source);
            }
            Err(failure) => failure.log(),
        }
    }

    /// Tries again to store refresh tokens: somebody may have been altering their mappings.
    pub(super) fn store_tokens(&mut self) {
        let is_unstored = |_: &pg_sys::Oid, entry: &mut (Arc<Mapping>, Secret)| {
            store(&entry.0, &entry.1).is_err()
        };
        self.questions.unstored.retain(is_unstored);
    }

    /// A refresh token that was exchanged for another is stored before anything else is done with
    /// the access token: a crash must not lose it. Where it can't be stored, the access token is
    /// used nevertheless, as the old refresh token may be worth nothing any more.
    fn granted(
        &mut self,
        group: &Arc<Group>,
        granted: Result<Token, Report>,
        answer: &mpsc::Sender<Result<(), Report>>,
    ) {
        let Some(mapping) = group.login.mapping.clone() else {
            return;
        };
        if let Ok(token) = &granted {
            if let Some(refresh_token) = &token.refresh_token {
                let key = mapping.token_key.mapping;
                self.questions.unstored.remove(&key);
                if let Err(failure) = store(&mapping, refresh_token) {
                    failure.log();
                    let entry = (Arc::clone(&mapping), refresh_token.clone());
                    self.questions.unstored.insert(key, entry);
                }
            }
            let _ = Backend.token_granted(&mapping, Ok(token));
        }
        let _ = answer.send(Ok(()));
        let waiting = self.questions.fetching.remove(&mapping.token_key.mapping);
        for (group, answer) in waiting.unwrap_or_default() {
            match &granted {
                Ok(_) => self.questions.asked.push(Question::Token { group, answer }),
                Err(report) => drop(answer.send(Err(report.clone()))),
            }
        }
    }
}

/// In a transaction of its own.
fn store(mapping: &Mapping, refresh_token: &Secret) -> Result<(), Failure> {
    background::transaction(|| refresh_token::store(mapping, refresh_token)).map(|_| ())
}
