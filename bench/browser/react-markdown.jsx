// https://github.com/remarkjs/react-markdown#use
import Markdown from 'react-markdown';
import remarkGfm from 'remark-gfm';
import { show } from './react.jsx';

const plugins = [remarkGfm];
show(({ children }) => <Markdown remarkPlugins={plugins}>{children}</Markdown>);
