//! Where spans go, and what is in them.

use super::wrong;
use headwater_protocol::Error;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::{collections::HashMap, fmt, time::Duration};

/// The usual [`Collector::timeout`], that of the [specification][otlp].
///
/// [otlp]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go, and what is in them.
#[derive(Clone)]
pub struct Collector {
    /// The address that takes traces, such as `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// Headers of each request, such as one with a key.
    pub headers: HashMap<String, String>,
    /// How long a batch may take, all attempts together: 10 s by default.
    pub timeout: Duration,
    /// The name of this program. By default that of the variable `OTEL_RESOURCE_ATTRIBUTES`, or `headwater`.
    pub service: Option<String>,
    /// Whether texts, arguments and results are sent, at most 64 KiB of each. By default they are not.
    pub has_content: bool,
}

impl Collector {
    /// The collector at an address, without content.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            headers: HashMap::new(),
            timeout: TIMEOUT,
            service: None,
            has_content: false,
        }
    }

    /// The collector that the [variables of OpenTelemetry][variables] name; `None` if they name none. `env` looks
    /// up a variable. Where there is one for traces, it comes before the one for everything.
    ///
    /// | variable | |
    /// |---|---|
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | the address as it is |
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | the same without `/v1/traces` |
    /// | `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, `OTEL_EXPORTER_OTLP_HEADERS` | `name=value,…`, with `%2C` for a comma |
    /// | `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, `OTEL_EXPORTER_OTLP_TIMEOUT` | milliseconds |
    /// | `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`, and no other |
    /// | `OTEL_SERVICE_NAME` | the name of this program |
    /// | `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` | `true` sends content |
    /// | `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` | `true` and `none` switch it off |
    ///
    /// [variables]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    ///
    /// # Errors
    /// `invalid_request`, with a sentence that names the variable and does not repeat its value, which may be a key.
    pub fn from_environment(env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let variables = Variables(env);
        if variables.is_off() {
            return Ok(None);
        }
        let Some(endpoint) = variables.endpoint()? else {
            return Ok(None);
        };
        variables.check_protocol()?;
        Ok(Some(Self {
            endpoint,
            headers: variables.headers()?,
            timeout: variables.timeout()?,
            service: variables.get("OTEL_SERVICE_NAME"),
            has_content: variables.flag("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")?,
        }))
    }
}

impl fmt::Debug for Collector {
    /// Without the values of the headers.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Collector")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.keys())
            .field("timeout", &self.timeout)
            .field("service", &self.service)
            .field("has_content", &self.has_content)
            .finish()
    }
}

/// The variables of the environment. One that is empty is not set, as the specification says.
struct Variables<E>(E);

impl<E: Fn(&str) -> Option<String>> Variables<E> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    /// The name and the value of the variable for traces or, without it, of that for everything.
    fn of_exporter(&self, what: &str) -> Option<(String, String)> {
        let names = ["TRACES_", ""].map(|which| format!("OTEL_EXPORTER_OTLP_{which}{what}"));
        let mut set = names.into_iter();
        set.find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    /// Whether traces are switched off. By the specification any word but these is none.
    fn is_off(&self) -> bool {
        let is = |name: &str, word: &str| {
            let value = self.get(name);
            value.is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none")
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name).map(|word| word.to_lowercase()).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(format!("“{name}” must be “true” or “false”."))),
        }
    }

    fn endpoint(&self) -> Result<Option<String>, Error> {
        let Some((name, value)) = self.of_exporter("ENDPOINT") else {
            return Ok(None);
        };
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https");
        if !Url::parse(&value).is_ok_and(|url| is_web(&url)) {
            return Err(wrong(format!(
                "“{name}” must be an address with http or https, such as http://127.0.0.1:4318."
            )));
        }
        Ok(Some(match name.contains("TRACES") {
            true => value,
            false => format!("{}/v1/traces", value.trim_end_matches('/')),
        }))
    }

    fn check_protocol(&self) -> Result<(), Error> {
        match self.of_exporter("PROTOCOL") {
            Some((name, value)) if value != "http/protobuf" => Err(wrong(format!(
                "“{name}” must be “http/protobuf”, the only protocol that Headwater sends traces with."
            ))),
            _ => Ok(()),
        }
    }

    fn timeout(&self) -> Result<Duration, Error> {
        let Some((name, value)) = self.of_exporter("TIMEOUT") else {
            return Ok(TIMEOUT);
        };
        let ms = value.parse().ok().filter(|ms| (1..=600_000).contains(ms));
        ms.map(Duration::from_millis).ok_or_else(|| {
            wrong(format!(
                "“{name}” must be a number of milliseconds, at most 600000."
            ))
        })
    }

    fn headers(&self) -> Result<HashMap<String, String>, Error> {
        let Some((name, value)) = self.of_exporter("HEADERS") else {
            return Ok(HashMap::new());
        };
        let pairs = value.split(',').filter(|pair| !pair.trim().is_empty());
        let headers = pairs.map(header).collect::<Option<_>>();
        headers.ok_or_else(|| {
            wrong(format!(
                "“{name}” must be headers in the form name=value, with commas between them."
            ))
        })
    }
}

/// A header, if it can be one.
fn header(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let name = name.trim().parse::<HeaderName>().ok()?;
    HeaderValue::from_str(&value).ok()?;
    Some((name.to_string(), value.into_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Collector>, Error> {
        let set: HashMap<_, _> = variables.iter().copied().collect();
        Collector::from_environment(|name| set.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn the_variables_of_the_specification_name_the_collector() {
        assert!(read(&[]).unwrap().is_none());
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])
                .unwrap()
                .is_none()
        );
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let collector = read(&[base]).unwrap().unwrap();
        assert_eq!(collector.endpoint, "http://collector:4318/v1/traces");
        assert!(!collector.has_content && collector.headers.is_empty());
        assert_eq!((collector.timeout, collector.service), (TIMEOUT, None));

        let collector = read(&[
            base,
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://traces.example/in",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "not=this"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Api-Key=a%2Cb=c, x=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "chat"),
            ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "True"),
        ]);
        let collector = collector.unwrap().unwrap();
        assert_eq!(collector.endpoint, "https://traces.example/in");
        let headers = [("api-key", "a,b=c"), ("x", "1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(collector.headers, headers.into());
        assert_eq!(collector.timeout, Duration::from_millis(250));
        assert_eq!(collector.service.as_deref(), Some("chat"));
        assert!(collector.has_content);
        assert!(
            !format!("{collector:?}").contains("a,b=c"),
            "it may be a key"
        );

        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert!(read(&[base, off]).unwrap().is_none());
        }
    }

    #[test]
    fn a_wrong_variable_is_refused_by_its_name_without_its_value() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for wrong in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector-secret:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "file:///secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1secret"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc-secret"),
            (
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
                "secret",
            ),
        ] {
            let refused = read(&[base, wrong]).unwrap_err();
            assert!(refused.message.contains(wrong.0), "{refused}");
            assert!(!refused.message.contains("secret"), "{refused}");
        }
    }
}
