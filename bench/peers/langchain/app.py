"""A chat server on LangChain, as its documentation and those of FastAPI and sse-starlette show it.

https://docs.langchain.com/oss/python/langchain/models#streaming-events
https://github.com/sysid/sse-starlette#readme

    python app.py PORT UPSTREAM
"""

import json
import sys

import uvicorn
from fastapi import FastAPI
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from sse_starlette.sse import EventSourceResponse

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]

model = ChatOpenAI(
    model="bench",
    base_url=f"http://{UPSTREAM}/v1",
    api_key="none",
    streaming=True,
    max_retries=0,
    timeout=600,
)
prompt = ChatPromptTemplate.from_messages(
    [("system", "You are a helpful assistant."), ("human", "{text}")]
)
chain = prompt | model | StrOutputParser()
app = FastAPI()


class Question(BaseModel):
    """What a person asks."""

    text: str


@app.get("/health")
async def health() -> dict[str, str]:
    """Says that the server is up."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(question: Question) -> EventSourceResponse:
    """Answers with one event a token."""

    async def events():
        async for event in chain.astream_events({"text": question.text}, version="v2"):
            if event["event"] == "on_chat_model_stream":
                text = event["data"]["chunk"].content
                if text:
                    yield {"event": "token", "data": json.dumps({"text": text})}
        yield {"event": "end", "data": "{}"}

    return EventSourceResponse(events())


uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", log_level="warning")
