/** Pictures of the screen, by the ending of a file's name. */
import type { Frame } from '../frame.js';
import type { Theme } from '../theme.js';
import { styledFrame, textOf } from './styled-lines.js';
import { svgOf } from './svg.js';

export const PICTURE_KINDS = ['txt', 'svg', 'png'] as const;
export type PictureKind = (typeof PICTURE_KINDS)[number];

/** The kind that a file name asks for; undefined for another ending, or none. */
export const pictureKind = (path: string): PictureKind | undefined =>
  PICTURE_KINDS.find(kind => path.toLowerCase().endsWith(`.${kind}`));

export interface Screen {
  readonly frame: Frame;
  readonly theme: Theme;
  readonly columns: number;
  readonly title: string;
}

/** The bytes of a picture. */
export async function pictureOf(
  kind: PictureKind,
  { frame, theme, columns, title }: Screen,
): Promise<Uint8Array | string> {
  const lines = styledFrame(frame, theme, columns);
  if (kind === 'txt') return textOf(lines);
  const svg = svgOf(lines, { title, columns, rows: lines.length });
  if (kind === 'svg') return svg;
  // Loaded late: the renderer takes a while, and few pictures are PNG.
  const { pngOf } = await import('./png.js');
  return pngOf(svg);
}
