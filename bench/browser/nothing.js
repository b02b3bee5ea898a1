// Reads the stream and shows nothing before its end: what any page pays for these events.
import { END } from './recording.mjs';
import { follow } from './stream.js';

const answer = document.getElementById('answer');
follow((text) => {
  if (!text.endsWith(END)) return;
  const whole = document.createElement('pre');
  whole.textContent = text;
  answer.append(whole);
});
