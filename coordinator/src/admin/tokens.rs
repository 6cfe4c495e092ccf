//! What operators do with join strings. Rule: nobody joins meanwhile, so that what is told of a string is what became of it.

use faultline_attribution::Timestamp;

use super::{Done, ListedToken, Refused, Why};
use crate::enroll::{
    Enrolment,
    strings::{Joining, StringError, Wanted},
};

pub(super) fn create(enrolment: &Enrolment, wanted: &Wanted, now: Timestamp) -> Result<Done, Refused> {
    let made = enrolment.alone(|strings, authority| strings.create(wanted, authority.pin(), now));
    let (join_string, row) = made.map_err(|error| refused(&error))?;
    Ok(Done::Made { join_string: join_string.to_string(), expires_at: row.expires_at })
}

pub(super) fn list(enrolment: &Enrolment, now: Timestamp) -> Done {
    let all = enrolment.alone(|strings, _| strings.all());
    let listed = |(id, row): (String, Result<Joining, String>)| match row {
        Ok(row) => Some(ListedToken {
            id,
            standing: row.standing(now),
            label: row.label.clone(),
            uses: row.uses,
            expires_at: row.expires_at,
            agents: agents(&row),
        }),
        Err(error) => {
            tracing::error!(error, "a join string cannot be read, and nobody joins with it");
            None
        }
    };
    Done::Listed(all.into_iter().filter_map(listed).collect())
}

pub(super) fn revoke(enrolment: &Enrolment, id: &str, now: Timestamp) -> Result<Done, Refused> {
    let revoked = enrolment.alone(|strings, _| strings.revoke(id, now)).map_err(|error| refused(&error))?;
    let row = revoked.ok_or_else(|| {
        let shown: String = id.chars().take(60).collect();
        Refused::new(Why::Unknown, format!("no join string {shown:?}: `faultline token list` has all"))
    })?;
    Ok(Done::Revoked { id: id.to_owned(), agents: agents(&row), with_agents: Vec::new() })
}

fn agents(row: &Joining) -> Vec<String> {
    row.joined.iter().map(|joined| joined.agent.clone()).collect()
}

fn refused(error: &StringError) -> Refused {
    let why = match error {
        StringError::Wanted(_) => Why::Malformed,
        StringError::Full => Why::State,
        StringError::File(_) => Why::Failed,
    };
    Refused::new(why, error.to_string())
}
