/** A picture of the console in a file, whole or not at all. */
import { existsSync } from 'node:fs';
import { UsageError } from '../hypervisor/index.js';
import { PICTURE_KINDS, pictureKind, pictureOf, type Screen } from '../tui/picture/picture.js';
import type { SnapshotFile } from '../tui/session.js';
import { fileReason, putFile } from './files.js';

const ENDINGS = PICTURE_KINDS.map(kind => `.${kind}`).join(', ');

/** Throws `UsageError` when the name has no ending that says what to write, or the file cannot be written. */
export async function writePicture(path: string, screen: Screen): Promise<void> {
  const kind = pictureKind(path);
  if (kind === undefined) throw new UsageError(`${path}: the name must end in one of ${ENDINGS}`);
  const bytes = await pictureOf(kind, screen);
  try {
    putFile(path, bytes);
  } catch (error) {
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
}

/** What `S` in the console writes to: a file in the working folder, unless the user names another; none is overwritten unasked. */
export const snapshotFile: SnapshotFile = {
  defaultPath(screen) {
    for (let number = 1; ; number++) {
      const path = `vmitop-${screen}-${number}.svg`;
      if (!existsSync(path)) return path;
    }
  },
  async save(path, screen) {
    try {
      await writePicture(path, screen);
      return undefined;
    } catch (error) {
      if (error instanceof UsageError) return error.message;
      throw error;
    }
  },
};
