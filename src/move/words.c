/* SPDX-License-Identifier: Apache-2.0 */
/* What states of a move are called: in the API, in the journal, for people. */
#include <string.h>

#include "move/move.h"

static const char *const phase_words[GW_MOVE_PHASES] = {
        [GW_MOVE_PLAN] = "plan",         [GW_MOVE_PREPARE] = "prepare",     [GW_MOVE_COPY] = "copy",
        [GW_MOVE_CUT] = "cut",           [GW_MOVE_COMMIT] = "commit",       [GW_MOVE_ACTIVATE] = "activate",
        [GW_MOVE_CONVERGE] = "converge", [GW_MOVE_FINISH] = "finish",       [GW_MOVE_ABANDON] = "abandon",
        [GW_MOVE_DONE] = "done",         [GW_MOVE_TAKE_BACK] = "take-back",
};
static const char *const result_words[] = {"open", "ok", "failed", "cancelled"};
static const char *const mode_words[GW_MOVE_MODES] = {"hot", "post-copy", "cold"};
static const char *const as_words[GW_MOVE_AS_KINDS] = {"running", "suspended", "stopped"};
static const char *const order_words[GW_ORDERS] = {"incoming", "migrate", "cancel",    "finish", "abandon",
                                                   "resume",   "recover", "reconnect", "survey", "load"};
static const char *const copy_words[GW_COPY_STATES] = {"unknown", "none", "waiting", "running", "stopped"};

const char *gw_move_phase_word(enum gw_move_phase phase) {
        return (unsigned)phase < GW_MOVE_PHASES ? phase_words[phase] : "?";
}

const char *gw_move_result_word(enum gw_move_result result) {
        return (unsigned)result < 4 ? result_words[result] : "?";
}

const char *gw_move_order_word(enum gw_move_order order) {
        return (unsigned)order < GW_ORDERS ? order_words[order] : "?";
}

const char *gw_copy_word(enum gw_copy copy) {
        return (unsigned)copy < GW_COPY_STATES ? copy_words[copy] : "?";
}

static int parse_word(const char *const *words, int n, const char *word) {
        for (int i = 0; i < n; i++)
                if (!strcmp(words[i], word))
                        return i;
        return -1;
}

const char *gw_move_as_word(enum gw_move_as as) {
        return (unsigned)as < GW_MOVE_AS_KINDS ? as_words[as] : "?";
}

int gw_move_as_parse(const char *word) {
        return parse_word(as_words, GW_MOVE_AS_KINDS, word);
}

const char *gw_move_mode_word(enum gw_move_mode mode) {
        return (unsigned)mode < GW_MOVE_MODES ? mode_words[mode] : "?";
}

int gw_move_mode_parse(const char *word) {
        return parse_word(mode_words, GW_MOVE_MODES, word);
}

int gw_move_phase_parse(const char *word) {
        return parse_word(phase_words, GW_MOVE_PHASES, word);
}

int gw_move_result_parse(const char *word) {
        return parse_word(result_words, 4, word);
}
