"""Gaps between the tokens of a LangChain model, without a callback handler and with a slow one.

https://docs.langchain.com/oss/python/langchain/models#streaming
https://reference.langchain.com/python/langchain-core/callbacks/base/AsyncCallbackHandler

    python observers.py TOKENS MILLISECONDS_BETWEEN_TOKENS MILLISECONDS_OF_THE_HANDLER ROUNDS

The model is made of paced words, so nothing but LangChain is between it and the reader. Prints one line of
JSON with the gaps that the reader saw, in nanoseconds.
"""

import asyncio
import json
import sys
import time

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

TOKENS, INTERVAL, PAUSE, ROUNDS = (int(word) for word in sys.argv[1:5])


class Paced(BaseChatModel):
    """Writes words on a schedule. A delay does not add up: what is due comes at once."""

    @property
    def _llm_type(self) -> str:
        return "paced"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unused"))])

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(TOKENS):
            wait = begin + number * INTERVAL / 1000 - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            yield ChatGenerationChunk(message=AIMessageChunk(f"word{number} "))


class Slow(AsyncCallbackHandler):
    """Takes its time for each token."""

    async def on_llm_new_token(self, token, **kwargs) -> None:
        if token:
            await asyncio.sleep(PAUSE / 1000)


async def gaps(handlers: list) -> list[int]:
    """One answer, read token by token."""
    times = []
    async for chunk in Paced().astream("Go.", config={"callbacks": handlers}):
        if chunk.content:
            times.append(time.perf_counter_ns())
    assert len(times) == TOKENS, "a token is missing"
    return [after - before for before, after in zip(times, times[1:])]


async def measure() -> None:
    """All rounds: without and with in turn, behind one that loads code."""
    await gaps([])
    found = {"without": [], "with": []}
    for _ in range(ROUNDS):
        found["without"] += await gaps([])
        found["with"] += await gaps([Slow()])
    print(json.dumps(found))


asyncio.run(measure())
