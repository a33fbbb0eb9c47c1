/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of what a port may be allowed, in the order of their bits. A bit once
 * given away keeps its meaning: records and state files hold them.
 */
#include "base/allow.h"

#include <stddef.h>
#include <string.h>

#include "base/error.h"

static const char *const words[GW_ALLOW_WORDS] = {"ra", "dhcp-server", "forward", "llc", "multicast-router"};

const char *gw_allow_word(unsigned i) {
        return i < GW_ALLOW_WORDS ? words[i] : NULL;
}

int gw_allow_parse(const char *word, uint16_t *bit) {
        for (unsigned i = 0; i < GW_ALLOW_WORDS; i++)
                if (strcmp(words[i], word) == 0) {
                        *bit = (uint16_t)(1u << i);
                        return 0;
                }
        return GW_E_INVALID;
}

const char *gw_allow_words(void) {
        return "ra, dhcp-server, forward, llc and multicast-router";
}
