// The recorded answer: Markdown as models usually write it, the same in every run.

const WORDS = (
  'the a of to and in is that for with as on are by this from which can when each one more ' +
  'request server stream reader cursor buffer commit replica latency process message value index ' +
  'memory network client session timeout retry schedule segment checkpoint transaction consistency ' +
  'throughput connection acknowledgement partition measurement configuration recovers arrives ' +
  'appends follows keeps needs returns waits writes small large early late open durable ordered shared'
).split(' ');

/** What every recording ends with, and nothing else contains. */
export const END = 'Recording ends here.';

/** Numbers from 0 to 1 that are the same in every run: mulberry32. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function writer(next) {
  const below = (limit) => Math.floor(next() * limit);
  const word = () => WORDS[below(WORDS.length)];
  const words = (count) => Array.from({ length: count }, word).join(' ');
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const times = (count, make) => Array.from({ length: count }, (_, at) => make(at));

  const marked = () =>
    [
      () => `**${words(2)}**`,
      () => `*${words(2)}*`,
      () => `\`${word()}_${word()}()\``,
      () => `[${words(3)}](https://example.com/${word()}/${below(1000)})`,
      () => `~~${word()}~~`,
    ][below(5)]();
  const sentence = () => {
    const parts = [capital(words(4 + below(8)))];
    if (below(3) === 0) parts.push(marked(), words(2 + below(5)));
    return `${parts.join(' ')}.`;
  };
  const paragraph = (sentences) => times(sentences, sentence).join(' ');

  const list = () => times(4, () => `- ${sentence()}\n  - ${words(6)}\n  - ${marked()} ${words(4)}`).join('\n');
  const steps = () => times(5, (at) => `${at + 1}. ${sentence()}`).join('\n');
  const table = () =>
    ['| Name | Value | Unit | Remark |', '|---|---:|---|---|']
      .concat(times(6, () => `| ${word()} | ${below(10000)} | ${word()} | ${marked()} ${words(3)} |`))
      .join('\n');
  const code = () => {
    const line = () => `    const ${word()} = await ${word()}.${word()}(${below(100)}, "${words(2)}"); // ${words(3)}`;
    return `\`\`\`ts\nexport async function ${word()}() {\n${times(10, line).join('\n')}\n}\n\`\`\``;
  };
  const quote = () => `> ${paragraph(2)}`;

  return (number) => [
    `## ${number}. ${capital(words(4))}`,
    paragraph(5),
    list(),
    `### ${capital(words(3))}`,
    paragraph(9),
    code(),
    table(),
    paragraph(4),
    steps(),
    quote(),
  ];
}

/** Cuts a text as tokenizers of models do, roughly: four letters or so, spaces in front. */
function tokenize(text) {
  return text.match(/ ?[A-Za-z]{1,7}|[ ]?\d{1,3}|\n+| +|[^A-Za-z\d\n ]{1,3}/g);
}

/** An answer of exactly `count` tokens. */
export function recording(count) {
  const section = writer(random(1));
  const end = tokenize(`\n\n${END}`);
  const tokens = [];
  for (let number = 1; ; number++) {
    for (const block of section(number)) {
      const more = tokenize(`${tokens.length > 0 ? '\n\n' : ''}${block}`);
      const left = count - end.length - tokens.length;
      if (more.length + 2 > left) {
        // Plain words up to the length.
        tokens.push('\n\n', ...Array.from({ length: left - 1 }, () => ' and'), ...end);
        return tokens;
      }
      tokens.push(...more);
    }
  }
}

/** The words that a reader of a Markdown text sees, in order. */
export function visibleWords(markdown) {
  return markdown
    .replaceAll(/\]\([^)]*\)/g, ' ')
    .replaceAll(/^\d+\. |^```ts$|^\|[-|:]+$/gm, ' ')
    .match(/[A-Za-z\d]+/g);
}
