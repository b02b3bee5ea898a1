//! Names of OpenTelemetry's [semantic conventions for generative AI][conventions], which are still in
//! development: here, and nowhere else. Those of metrics have `_` for a dot, as Prometheus takes them.
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

/// The provider and the model of a name `provider/model`. A name without a provider is that of a model.
pub(super) fn provider_and_model(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// Attributes of spans.
#[cfg(feature = "otel")]
pub(super) mod attribute {
    pub(in crate::observer) const OPERATION: &str = "gen_ai.operation.name";
    pub(in crate::observer) const PROVIDER: &str = "gen_ai.provider.name";
    pub(in crate::observer) const MODEL: &str = "gen_ai.request.model";
    pub(in crate::observer) const CONVERSATION: &str = "gen_ai.conversation.id";
    pub(in crate::observer) const AGENT: &str = "gen_ai.agent.name";
    pub(in crate::observer) const WORKFLOW: &str = "gen_ai.workflow.name";
    pub(in crate::observer) const TOOL: &str = "gen_ai.tool.name";
    pub(in crate::observer) const TOOL_CALL: &str = "gen_ai.tool.call.id";
    pub(in crate::observer) const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    pub(in crate::observer) const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    pub(in crate::observer) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    pub(in crate::observer) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    pub(in crate::observer) const CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
    pub(in crate::observer) const CACHE_WRITE: &str = "gen_ai.usage.cache_creation.input_tokens";
    pub(in crate::observer) const REASONING: &str = "gen_ai.usage.reasoning.output_tokens";
    pub(in crate::observer) const ERROR: &str = "error.type";
    pub(in crate::observer) const HTTP_STATUS: &str = "http.response.status_code";

    /// What a model wrote. Content.
    pub(in crate::observer) const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
    /// What a tool was given. Content.
    pub(in crate::observer) const TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// What a tool gave. Content.
    pub(in crate::observer) const TOOL_RESULT: &str = "gen_ai.tool.call.result";

    // Ours, for what the conventions have no name for.
    pub(in crate::observer) const RUN: &str = "headwater.run.id";
    pub(in crate::observer) const STATUS: &str = "headwater.status";
    pub(in crate::observer) const TAGS: &str = "headwater.tags";
    pub(in crate::observer) const ESTIMATED: &str = "headwater.usage.estimated";
    pub(in crate::observer) const ATTEMPT: &str = "headwater.retry.attempt";
    pub(in crate::observer) const PAUSE: &str = "headwater.retry.pause";
    pub(in crate::observer) const RELATION: &str = "headwater.link";
    /// What a step was given. Content.
    pub(in crate::observer) const INPUT: &str = "headwater.input";
    /// What a step gave. Content.
    pub(in crate::observer) const OUTPUT: &str = "headwater.output";
    /// What a custom event says. Content.
    pub(in crate::observer) const DATA: &str = "headwater.data";
}

/// Kinds of work that only spans have.
#[cfg(feature = "otel")]
pub(super) mod operation {
    pub(in crate::observer) const INVOKE_AGENT: &str = "invoke_agent";
    pub(in crate::observer) const INVOKE_WORKFLOW: &str = "invoke_workflow";
    pub(in crate::observer) const RETRIEVAL: &str = "retrieval";
}

#[cfg(all(test, feature = "otel"))]
mod tests {
    use super::*;

    #[test]
    fn labels_of_metrics_are_attributes_of_spans_with_another_dot() {
        let pairs = [
            (OPERATION, attribute::OPERATION),
            (PROVIDER, attribute::PROVIDER),
            (MODEL, attribute::MODEL),
            (TOOL, attribute::TOOL),
            (ERROR, attribute::ERROR),
        ];
        for (label, attribute) in pairs {
            assert_eq!(label, attribute.replace('.', "_"));
        }
    }
}
