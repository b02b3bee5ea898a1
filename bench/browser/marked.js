// https://marked.js.org/#usage
import { marked } from 'marked';
import { follow, scrollToEnd } from './stream.js';

const answer = document.getElementById('answer');
follow((text) => {
  answer.innerHTML = marked.parse(text);
  scrollToEnd();
});
