/** A recording names how each VM is run: it is read back and repeated in every mode. */
import { expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import { formatRecording, parseRecording, recordingOf, verifyRecording } from '../../src/hypervisor/index.js';
import { guestHost, MODES } from './run-guest.js';

test.each(MODES)('%s', mode => {
  const images = { guest: loadGuestImage() };
  const host = guestHost({ mode, append: 'hz=250', sampleIntervalMs: 5 });
  host.advance(host.nowCycles + 25 * host.quantumCycles);
  const recording = parseRecording(formatRecording(recordingOf(host), images), 'test');
  expect(recording.config.vms[0]!.monitor).toBe(mode === 'vmi' ? 'bt' : mode);
  expect(verifyRecording(recording, images)).toMatchObject({ differences: [] });
});
