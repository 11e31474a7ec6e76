/** Draws a frame: one <Text> per line, and a line that did not change is not drawn again. */
import { Box, Text } from 'ink';
import { memo } from 'react';
import type { Frame } from '../frame.js';
import type { Theme } from '../theme.js';
import { Menu } from './menu.js';

// An empty <Text> has no height, and the line would be lost.
const Line = memo(({ text }: { readonly text: string }) => <Text wrap="truncate">{text === '' ? ' ' : text}</Text>);

const lines = (texts: readonly string[]) =>
  // biome-ignore lint/suspicious/noArrayIndexKey: a line is its place on the screen
  texts.map((text, index) => <Line key={index} text={text} />);

export function FrameView({ frame, theme }: { readonly frame: Frame; readonly theme: Theme }) {
  return (
    <Box flexDirection="column" height={frame.height} overflow="hidden">
      <Box flexDirection="column" flexShrink={0}>
        {lines(frame.above)}
      </Box>
      {frame.menu ? <Menu view={frame.menu} theme={theme} /> : null}
      <Box flexDirection="column" flexShrink={0}>
        {lines(frame.below)}
      </Box>
    </Box>
  );
}
