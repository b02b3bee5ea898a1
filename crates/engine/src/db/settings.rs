//! The settings of a conversation: checked, stored with it, and made into the parameters of a request.

use crate::{
    db::{DbError, conversations},
    provider::Sampling,
};
use headwater_protocol::{
    ConversationId, Error, ErrorCode,
    chat::{Effort, Settings},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

/// Parses settings from a client: a JSON object. An empty text stands for an empty object; unknown
/// fields are ignored.
///
/// # Errors
/// `invalid_request` with a sentence that names the field.
pub fn check(json: &str) -> Result<Settings, Error> {
    if json.trim().is_empty() {
        return Ok(Settings::default());
    }
    let fields: Map<String, Value> = serde_json::from_str(json)
        .map_err(|_| wrong("The field “settings” must be a JSON object."))?;
    Ok(Settings {
        system: system(&fields)?,
        temperature: number(&fields, "temperature", 2.0)?,
        top_p: number(&fields, "top_p", 1.0)?,
        max_tokens: max_tokens(&fields)?,
        effort: match field(&fields, "effort") {
            None => None,
            Some(word) => Some(word.as_str().and_then(Effort::of).ok_or_else(|| {
                wrong("The field “effort” must be “none”, “low”, “medium” or “high”.")
            })?),
        },
    })
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn system(fields: &Map<String, Value>) -> Result<Option<String>, Error> {
    let Some(value) = field(fields, "system") else {
        return Ok(None);
    };
    let text = value
        .as_str()
        .ok_or_else(|| wrong("The field “system” must be a text."))?;
    if text.len() > Settings::MAX_SYSTEM_BYTES {
        return Err(wrong(&format!(
            "The field “system” has {} kB; at most {} kB are possible.",
            text.len().div_ceil(1024),
            Settings::MAX_SYSTEM_BYTES / 1024
        )));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.trim().is_empty()))
}

fn number(fields: &Map<String, Value>, name: &str, most: f64) -> Result<Option<f64>, Error> {
    let Some(value) = field(fields, name) else {
        return Ok(None);
    };
    let number = value
        .as_f64()
        .filter(|number| (0.0..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        wrong(&format!(
            "The field “{name}” must be a number from 0 to {most}."
        ))
    })
}

fn max_tokens(fields: &Map<String, Value>) -> Result<Option<u32>, Error> {
    let Some(value) = field(fields, "max_tokens") else {
        return Ok(None);
    };
    let number = value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=Settings::MOST_TOKENS).contains(number));
    number
        .map(Some)
        .ok_or_else(|| wrong("The field “max_tokens” must be a whole number from 1 to 1,000,000."))
}

fn wrong(sentence: &str) -> Error {
    Error::new(ErrorCode::InvalidRequest, sentence)
}

/// The settings of a conversation.
///
/// # Errors
/// `not_found`, `storage`.
pub fn read(db: &Connection, id: ConversationId) -> Result<Settings, DbError> {
    db.prepare_cached("SELECT settings FROM conversation WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| of_row(row, 0))
        .optional()?
        .ok_or_else(conversations::no_conversation)
}

/// Stores the settings of a conversation.
pub(crate) fn write(
    db: &Connection,
    id: ConversationId,
    settings: &Settings,
) -> Result<(), DbError> {
    conversations::changed(
        db.prepare_cached("UPDATE conversation SET settings = ?2 WHERE id = ?1")?
            .execute(params![id.0.as_bytes(), for_row(settings)]),
    )
}

/// Checks settings that a program made.
///
/// # Errors
/// `invalid_request` with a sentence that names the field.
pub fn check_values(settings: &Settings) -> Result<(), Error> {
    // By the rules for those of clients.
    match for_row(settings) {
        Some(json) => check(&json).map(|_| ()),
        None => Ok(()),
    }
}

/// The form in which settings are stored; `None` if nothing is set.
pub(super) fn for_row(settings: &Settings) -> Option<String> {
    match settings.is_empty() {
        true => None,
        false => serde_json::to_string(settings).ok(),
    }
}

/// Settings from the database. Settings that this version cannot read count as none.
pub(super) fn of_row(row: &Row<'_>, column: usize) -> rusqlite::Result<Settings> {
    let json: Option<String> = row.get(column)?;
    Ok(json
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default())
}

/// The parameters for sampling among the settings.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a share needs no more digits than the providers take"
)]
pub(crate) fn sampling(settings: &Settings) -> Sampling {
    Sampling {
        temperature: settings.temperature.map(|number| number as f32),
        top_p: settings.top_p.map(|number| number as f32),
        max_tokens: settings.max_tokens,
        effort: settings.effort,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_taken_and_what_is_unknown_passed_over() {
        assert_eq!(check("").unwrap(), Settings::default());
        assert_eq!(
            check("{\"system\": \" \", \"top_p\": null}").unwrap(),
            Settings::default()
        );
        let all = r#"{"system":"Be brief.","temperature":0,"top_p":0.9,"max_tokens":1000000,
                      "effort":"high","mood":"good"}"#;
        assert_eq!(
            check(all).unwrap(),
            Settings {
                system: Some("Be brief.".into()),
                temperature: Some(0.0),
                top_p: Some(0.9),
                max_tokens: Some(1_000_000),
                effort: Some(Effort::High),
            }
        );
        assert_eq!(sampling(&check(all).unwrap()).temperature, Some(0.0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("{{\"system\":\"{}\"}}", "x".repeat(32 * 1024 + 1));
        for (json, name) in [
            ("7", "settings"),
            ("{", "settings"),
            (r#"{"temperature":2.1}"#, "temperature"),
            (r#"{"temperature":"hot"}"#, "temperature"),
            (r#"{"top_p":-0.1}"#, "top_p"),
            (r#"{"max_tokens":0}"#, "max_tokens"),
            (r#"{"max_tokens":1.5}"#, "max_tokens"),
            (r#"{"max_tokens":1000001}"#, "max_tokens"),
            (r#"{"effort":"extreme"}"#, "effort"),
            (r#"{"system":["a"]}"#, "system"),
            (long.as_str(), "system"),
        ] {
            let error = check(json).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest);
            assert!(error.message.contains(&format!("“{name}”")), "{error}");
        }
    }
}
