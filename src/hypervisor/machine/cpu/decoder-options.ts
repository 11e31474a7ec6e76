/**
 * How iced-x86 is to read bytes so that it finds the instructions of this processor and not those of later ones: F3 in front of
 * BSF, BSR and WBINVD says nothing yet (TZCNT, LZCNT and WBNOINVD came with BMI1, ABM and Zen 2), and the hints 0F0D and 0F18-0F1F are
 * NOPs with an operand, whatever they became since (SDM vol. 2, appendix A, "Reserved NOP").
 */
import { DecoderOptions } from 'iced-x86';

export const DECODER_OPTIONS =
  DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD | DecoderOptions.NoWbnoinvd | DecoderOptions.ForceReservedNop;
