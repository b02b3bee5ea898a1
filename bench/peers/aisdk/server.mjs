// A chat server on the AI SDK with resumable streams, as its documentation shows it, on Node's own
// HTTP server in place of Next.js.
// https://ai-sdk.dev/docs/ai-sdk-ui/chatbot-resume-streams
//
//   REDIS_URL=redis://… node server.mjs PORT UPSTREAM
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  convertToModelMessages,
  generateId,
  pipeUIMessageStreamToResponse,
  streamText,
  toUIMessageStream,
  UI_MESSAGE_STREAM_HEADERS,
} from 'ai';
import { createResumableStreamContext } from 'resumable-stream';

const [port, upstream] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: 'bench', baseURL: `http://${upstream}/v1` });
const streams = createResumableStreamContext({ waitUntil: null });
/** The running stream of each chat: what the documentation keeps in a store of chats. */
const active = new Map();

async function answer(request, response) {
  const { id, message } = await json(request);
  const result = streamText({
    model: provider('bench'),
    messages: await convertToModelMessages([message]),
    maxRetries: 0,
  });
  pipeUIMessageStreamToResponse({
    response,
    stream: toUIMessageStream({
      stream: result.stream,
      originalMessages: [message],
      generateMessageId: generateId,
      onEnd: () => active.delete(id),
    }),
    async consumeSseStream({ stream }) {
      const streamId = generateId();
      await streams.createNewResumableStream(streamId, () => stream);
      active.set(id, streamId);
    },
  });
}

async function resume(id, response) {
  const streamId = active.get(id);
  const stream = streamId && (await streams.resumeExistingStream(streamId));
  if (!stream) return response.writeHead(204).end();
  response.writeHead(200, UI_MESSAGE_STREAM_HEADERS);
  Readable.fromWeb(stream).pipe(response);
}

createServer(async (request, response) => {
  const [, id] = request.url.match(/^\/api\/chat\/([^/]+)\/stream$/) ?? [];
  if (request.method === 'POST') await answer(request, response);
  else if (id) await resume(id, response);
  else response.writeHead(200).end('ok');
}).listen(Number(port), '127.0.0.1');
