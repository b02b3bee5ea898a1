// What all pages share: they read the stream, and show at most once a frame what has come.

/** Reads the stream that the page's address asks for, and hands all text so far to `show`. */
export function follow(show) {
  let text = '';
  let frame = 0;
  const draw = () => {
    frame = 0;
    show(text);
  };
  const source = new EventSource(`/stream${location.search}`);
  source.onmessage = ({ data }) => {
    if (data === '[DONE]') return source.close();
    text += JSON.parse(data).choices[0].delta.content ?? '';
    frame ||= requestAnimationFrame(draw);
  };
}

/** Keeps the end of the text in sight, as a chat does. */
export function scrollToEnd() {
  const page = document.scrollingElement;
  page.scrollTop = page.scrollHeight;
}
