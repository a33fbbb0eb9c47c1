/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of the packets that a frame with offloaded segmentation becomes: its
 * headers as they stand in it, and one segment's payload. The data plane counts in
 * the same way (bpf/packet.h), and what it sends up as fitting must fit here, too.
 *
 * The length of headers in the offload header that comes with such a frame is no
 * measure: for the kernel it is a hint how much lies together in memory, often the
 * whole frame.
 *
 * A frame that is no IP, or ends before it tells, counts whole.
 */
#include "edge/segment.h"

#include <stdbool.h>

enum {
        ETH_SIZE = 14,
        ETHERTYPE_IPV4 = 0x0800,
        IPV4_SIZE = 20,
        IPV4_PROTOCOL_AT = 9,
        IPV6_SIZE = 40,
        IPV6_NEXT_AT = 6,
        TCP = 6,
        TCP_OFFSET_AT = 12,
        UDP_SIZE = 8,
};

uint32_t gw_segment_octets(const uint8_t *frame, size_t size, uint32_t payload) {
        const uint8_t *ip = frame + ETH_SIZE;
        size_t whole = size > ETH_SIZE ? size - ETH_SIZE : 0, header;
        bool v4;

        if (whole < IPV4_SIZE)
                return (uint32_t)whole;
        v4 = (frame[12] << 8 | frame[13]) == ETHERTYPE_IPV4;
        header = v4 ? (size_t)(ip[0] & 15) * 4 : IPV6_SIZE;
        if (whole < header)
                return (uint32_t)whole;
        if (ip[v4 ? IPV4_PROTOCOL_AT : IPV6_NEXT_AT] != TCP)
                return (uint32_t)header + UDP_SIZE + payload;
        if (whole <= header + TCP_OFFSET_AT)
                return (uint32_t)whole;
        return (uint32_t)header + (ip[header + TCP_OFFSET_AT] >> 4) * 4U + payload;
}
