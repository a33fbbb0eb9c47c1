/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: objects as octets for the store (record.c), and back (load.c).
 *
 * The key is the object's name or id; for META it is a word. A value begins
 * with its version; a reader accepts only versions that it knows, so that an
 * older program does not misread a newer one's store. Integers are big-endian,
 * names are a length and octets. Times are wall-clock, since monotonic time
 * does not survive.
 *
 * A VN's record goes on, after its subnets, with sections: u8 kind, u16 octets,
 * value. What a VN does not have has no section, so that records from before a
 * section was invented are complete; one of an unknown kind does not load.
 */
#ifndef GW_DIRECTORY_RECORD_H
#define GW_DIRECTORY_RECORD_H

enum { GW_RECORD_VERSION = 1 };
#define GW_RECORD_EPOCH_FLOOR "epoch-floor" /* a key of META */

enum gw_vn_section {
        GW_VN_SECTION_FLAGS = 1, /* u32, enum gw_vn_flag */
        GW_VN_SECTION_GATEWAYS,  /* n * 16 */
        GW_VN_SECTION_PIN = 16,  /* the name of an NVE */
        GW_VN_SECTION_LIMITS,    /* n * u32, enum gw_vn_limit; those that are not there are 0 */
};

#endif
