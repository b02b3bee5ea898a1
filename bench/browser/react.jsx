// A page of React that shows the text of the stream with a component.
import { useEffect, useLayoutEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { follow, scrollToEnd } from './stream.js';

function Page({ Markdown }) {
  const [text, setText] = useState('');
  useEffect(() => follow(setText), []);
  useLayoutEffect(scrollToEnd, [text]);
  return <Markdown>{text}</Markdown>;
}

export function show(Markdown) {
  createRoot(document.getElementById('answer')).render(<Page Markdown={Markdown} />);
}
