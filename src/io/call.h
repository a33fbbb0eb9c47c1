/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of CALL, ANSWER and EVENT frames: TLVs as everywhere (wire/frame.h),
 * u16 type, u32 length, value. Numbers from 0x100 are theirs. Private to src/io.
 *
 *      CALL    METHOD, PATH, JSON?, FDS?
 *      ANSWER  STATUS, JSON?
 *      EVENT   JSON
 */
#pragma once

enum gw_call_tlv {
        GW_CALL_TLV_METHOD = 0x100, /* text, up to 15 octets */
        GW_CALL_TLV_PATH,           /* text with the query, up to 2047 octets */
        GW_CALL_TLV_JSON,           /* UTF-8 */
        GW_CALL_TLV_STATUS,         /* u16, an HTTP status */
        GW_CALL_TLV_FDS,            /* u16, descriptors that came with the first octet of this frame */
};
