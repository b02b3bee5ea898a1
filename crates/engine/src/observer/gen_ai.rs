//! Names of OpenTelemetry's [semantic conventions for generative AI][conventions], which are still in
//! development: here, and nowhere else. They have `_` for a dot, as Prometheus takes them.
//!
//! [conventions]: https://opentelemetry.io/docs/specs/semconv/gen-ai/

/// The label with the kind of work.
pub(super) const OPERATION: &str = "gen_ai_operation_name";
/// The label with the provider.
pub(super) const PROVIDER: &str = "gen_ai_provider_name";
/// The label with the model.
pub(super) const MODEL: &str = "gen_ai_request_model";
/// The label that tells tokens of the prompt from those of the answer.
pub(super) const TOKEN_TYPE: &str = "gen_ai_token_type";
/// The label with the tool.
pub(super) const TOOL: &str = "gen_ai_tool_name";
/// The label with the code of an error.
pub(super) const ERROR: &str = "error_type";

/// The kind of work of a chat model.
pub(super) const CHAT: &str = "chat";
/// The kind of work of a tool.
pub(super) const EXECUTE_TOOL: &str = "execute_tool";

/// The metric for the tokens of a call.
pub(super) const TOKEN_USAGE: &str = "gen_ai_client_token_usage";
/// The metric for the time of a call.
pub(super) const DURATION: &str = "gen_ai_client_operation_duration";
/// The metric for the time to the first chunk.
pub(super) const FIRST_CHUNK: &str = "gen_ai_client_operation_time_to_first_chunk";

/// The boundaries that the conventions give for tokens.
pub(super) const TOKEN_BUCKETS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The boundaries that the conventions give for seconds.
pub(super) const SECOND_BUCKETS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
