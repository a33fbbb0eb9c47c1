/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permissions of a port as JSON. Strict when an operator says them: an unknown
 * word is refused with those that are known. Words that came twice count once.
 */
#include "io/allow.h"

#include "base/allow.h"

void gw_json_allow(struct gw_json_reader *r, const char *key, uint16_t *out) {
        json_t *list = gw_json_array(r, key), *value;
        uint16_t bit = 0;
        size_t i;

        *out = 0;
        json_array_foreach (list, i, value) {
                const char *word = json_string_value(value);

                if (!word || gw_allow_parse(word, &bit)) {
                        gw_json_fault(r, key, "%s[%zu] is \"%.32s\"; allowed are %s", key, i, word ? word : "no text",
                                      gw_allow_words());
                        return;
                }
                *out |= bit;
        }
}

json_t *gw_allow_json(uint16_t allow) {
        json_t *list = json_array();
        const char *word;

        for (unsigned i = 0; (word = gw_allow_word(i)); i++)
                if (allow & 1u << i)
                        json_array_append_new(list, json_string(word));
        return list;
}
