// https://streamdown.ai/docs/getting-started
import { Streamdown } from 'streamdown';
import { show } from './react.jsx';

show(({ children }) => <Streamdown isAnimating>{children}</Streamdown>);
