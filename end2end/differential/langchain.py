"""Records `astream_events` of version 2 from langchain-core.

Runs the chains of tests/http/langchain.rs, with models that say fixed pieces, and prints one line of JSON for each
event: the name of the chain, and the event as LangServe and LangGraph send it. The last line of a chain that fails
has what was raised.
"""

import asyncio
import json
from operator import add
from functools import reduce

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, message_chunk_to_message
from langchain_core.output_parsers import BaseOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool

QUESTION = {"text": "Which?"}
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


class Model(BaseChatModel):
    """Says these pieces. Once it has the result of a tool, it says the others."""

    pieces: list[dict]
    then: list[dict] = []

    @property
    def _llm_type(self):
        return "scripted"

    def _get_ls_params(self, stop=None, **kwargs):
        model = self.name.removeprefix("scripted/")
        return {"ls_provider": "scripted", "ls_model_name": model, "ls_model_type": "chat"}

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        pieces = self.then if messages[-1].type == "tool" else self.pieces
        reason = "stop"
        for piece in pieces:
            if "tool_call_chunks" in piece:
                reason = "tool_calls"
            yield ChatGenerationChunk(message=AIMessageChunk(**piece))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                response_metadata={"finish_reason": reason},
                usage_metadata=USAGE,
                chunk_position="last",
            )
        )


def texts(*pieces):
    return [{"content": piece} for piece in pieces]


def call(**fields):
    whole = {"name": None, "args": "", "id": None, "index": 0, "type": "tool_call_chunk"}
    return {"content": "", "tool_call_chunks": [whole | fields]}


ONE = Model(name="scripted/one", pieces=texts("First ", "opinion."))
TWO = Model(name="scripted/two", pieces=texts("Second."))
THINKS = Model(
    name="scripted/thinks",
    pieces=[{"content": "", "additional_kwargs": {"reasoning_content": "Hm."}}] + texts("Yes."),
)
CALLS = Model(
    name="scripted/calls",
    pieces=texts("Let me look.") + [call(name="up", id="call_1"), call(args='{"text":"Which?"}')],
    then=texts("It is WHICH?"),
)


class Shout(BaseOutputParser[str]):
    def parse(self, text):
        return text.upper()


class Pages(BaseRetriever):
    async def _aget_relevant_documents(self, query, *, run_manager):
        config = {"callbacks": run_manager.get_child()}
        await adispatch_custom_event("searched", {"query": query}, config=config)
        return [Document(page_content="A page."), Document(page_content="B.", metadata={"n": 2})]

    def _get_relevant_documents(self, query, *, run_manager):
        raise NotImplementedError


@tool
async def up(text: str) -> str:
    """Says it louder."""
    return text.upper()


@tool
async def broken(text: str) -> str:
    """Does not work."""
    raise ValueError("It does not work.")


async def agent(messages):
    """What an agent does: asks the model, runs the tools, asks again."""
    while True:
        pieces = [piece async for piece in CALLS.astream(messages)]
        said = message_chunk_to_message(reduce(add, pieces))
        messages = [*messages, said]
        if not said.tool_calls:
            return said
        messages += [await up.ainvoke(asked) for asked in said.tool_calls]


async def announce(question):
    await adispatch_custom_event("step", {"done": 1, "of": 2})
    await adispatch_custom_event("step", "half")
    return question["text"]


async def fails(text):
    raise ValueError("It does not work.")


def step(name, work):
    return RunnableLambda(work).with_config(run_name=name)


ASK = ChatPromptTemplate.from_messages([("human", "Tell me of this: {text}")]).with_config(run_name="ask")
ARGS = step("args", lambda question: {"text": question["text"]})

CHAINS = {
    "sequence": ASK | ONE | Shout(name="shout"),
    "thinks": ASK | THINKS | Shout(name="shout"),
    "tool": ARGS | up,
    "tool_fails": ARGS | broken,
    "retriever": step("query", lambda question: question["text"])
    | Pages(name="pages")
    | step("join", lambda pages: " ".join(page.page_content for page in pages)),
    "parallel": ASK
    | RunnableParallel(one=ONE, two=TWO).with_config(run_name="parallel")
    | step("join", lambda said: f"{said['one'].content} {said['two'].content}"),
    "custom": step("announce", announce) | step("say", lambda text: text),
    "fails": step("announce", announce) | step("fails", fails),
    "tagged": ASK.with_config(tags=["outer"])
    | ONE.with_config(tags=["outer", "inner"])
    | Shout(name="shout").with_config(tags=["outer"]),
}


def plain(value):
    """What LangServe (serialization.py) and LangGraph's server (serde.py) make of what JSON does not know."""
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    return value.model_dump()


async def record(name, runnable, value):
    try:
        async for event in runnable.astream_events(value, version="v2"):
            print(json.dumps({"chain": name, "event": event}, default=plain))
    except ValueError as error:
        print(json.dumps({"chain": name, "raised": str(error)}))


async def main():
    await record("plain", ONE, [HumanMessage("Which?")])
    await record("agent", RunnableLambda(agent).with_config(run_name="agent"), [HumanMessage("Which?")])
    for name, chain in CHAINS.items():
        await record(name, chain.with_config(run_name=f"chain/{name}"), QUESTION)


asyncio.run(main())
