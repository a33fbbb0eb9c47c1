/* SPDX-License-Identifier: Apache-2.0 */
/* What a frame becomes that is cut into segments later, by the device that sends it (segment.c). Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Octets of IP in each packet but the last, when each takes `payload` octets along behind its headers. */
uint32_t gw_segment_octets(const uint8_t *frame, size_t size, uint32_t payload);
