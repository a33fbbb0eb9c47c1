/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ways of copying go together is QEMU's matter (7.2): it sends whole pages
 * over several connections, so differences of pages have no place there, and it
 * cannot ask for a page by name over several connections, as post-copy does.
 * Both would be taken without a word and not work; they are refused here.
 */
#include "hypervisor/options.h"

#include <stdio.h>
#include <string.h>

#include "io/api.h"

static const char *const mode_words[] = {"hot", "post-copy", "cold"};
enum { MODES = sizeof mode_words / sizeof *mode_words };

static unsigned mode_bit(const char *word, size_t n) {
        for (unsigned i = 0; i < MODES; i++)
                if (strlen(mode_words[i]) == n && !memcmp(word, mode_words[i], n))
                        return 1U << i;
        return 0;
}

unsigned gw_modes_parse(const char *words) {
        unsigned modes = 0, bit;
        size_t n;

        for (words += strspn(words, " "); *words; words += n, words += strspn(words, " ")) {
                n = strcspn(words, " ");
                bit = mode_bit(words, n);
                if (!bit)
                        return 0;
                modes |= bit;
        }
        return modes;
}

json_t *gw_modes_json(unsigned modes) {
        json_t *list = json_array();

        for (unsigned i = 0; i < MODES; i++)
                if (modes & 1U << i)
                        json_array_append_new(list, json_string(mode_words[i]));
        return list;
}

const char *gw_modes_text(unsigned modes, char out[static 64]) {
        size_t at = 0;

        snprintf(out, 64, "none");
        for (unsigned i = 0; i < MODES; i++)
                if (modes & 1U << i)
                        at += (size_t)snprintf(out + at, 64 - at, "%s%s", at ? ", " : "", mode_words[i]);
        return out;
}

unsigned gw_modes_read(const json_t *list) {
        unsigned modes = 0;

        if (!json_is_array(list))
                return GW_MODE_ALL;
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *word = json_string_value(json_array_get(list, i));

                modes |= word ? mode_bit(word, strlen(word)) : 0;
        }
        return modes;
}

void gw_copy_options_read(struct gw_json_reader *r, struct gw_copy_options *out) {
        struct gw_copy_options o = {
                .cold = gw_json_bool(r, "cold", 0),
                .stay = gw_json_bool(r, "stay", 0),
                .post_copy = gw_json_bool(r, "post_copy", 0),
                .xbzrle = gw_json_bool(r, "xbzrle", 0),
                .auto_converge = gw_json_bool(r, "auto_converge", 0),
                .multifd = (unsigned)gw_json_int(r, "multifd", 0, GW_COPY_MULTIFD_MAX, 0),
        };

        if (!gw_json_failed(r) && o.multifd && o.xbzrle)
                gw_json_fault(r, "multifd", "multifd is %u and xbzrle is on; only one of them can be used", o.multifd);
        if (!gw_json_failed(r) && o.multifd && o.post_copy)
                gw_json_fault(r, "multifd", "multifd is %u; post-copy uses one connection", o.multifd);
        if (!gw_json_failed(r) && o.cold && o.post_copy)
                gw_json_fault(r, "cold", "cold and post_copy are on; only one of them can be used");
        if (!gw_json_failed(r) && o.stay && !o.cold)
                gw_json_fault(r, "stay", "stay is on without cold; only a cold move takes a VM that does not run");
        if (!gw_json_failed(r))
                *out = o;
}

json_t *gw_copy_options_encode(const struct gw_copy_options *options) {
        json_t *object = json_object();

        if (options->cold)
                json_object_set_new(object, "cold", json_true());
        if (options->stay)
                json_object_set_new(object, "stay", json_true());
        if (options->post_copy)
                json_object_set_new(object, "post_copy", json_true());
        if (options->xbzrle)
                json_object_set_new(object, "xbzrle", json_true());
        if (options->auto_converge)
                json_object_set_new(object, "auto_converge", json_true());
        if (options->multifd)
                json_object_set_new(object, "multifd", json_integer(options->multifd));
        return object;
}
