/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of Mobility Headers: RFC 6275 (header, Binding Update), RFC 5213
 * (proxy registrations), RFC 5844 (IPv4), RFC 4283 and 4285 (identifier,
 * authentication), RFC 5094 (vendor option), RFC 5847 (heartbeat), RFC 7077
 * (update notification), RFC 8885 (serving MAAR), as listed in IANA's registries. D2's messages are made of these.
 */
#pragma once

enum {
        GW_MH_PROTOCOL = 135,        /* the Next Header value of a Mobility Header */
        GW_MH_NO_NEXT = 59,          /* the only payload protocol allowed in one */
        GW_MH_UNIT = 8,              /* octets of one unit of Header Len */
        GW_MH_SIZE_MAX = 2048,       /* 256 units */
        GW_MH_UDP_PORT = 5436,       /* RFC 5844, over IPv4 */
        GW_MH_FIXED_SIZE = 12,       /* header and message data of every message here but the next */
        GW_MH_ERROR_FIXED_SIZE = 24, /* of a Binding Error */
        GW_MH_CHECKSUM_AT = 4,       /* offset */
        GW_MH_LIFETIME_UNIT_S = 4,
};

enum gw_mh_type {
        GW_MH_BINDING_UPDATE = 5, /* with P: Proxy Binding Update; D2: Registration Request */
        GW_MH_BINDING_ACK = 6,    /* with P: Proxy Binding Acknowledgement; D2: Registration Reply */
        GW_MH_BINDING_ERROR = 7,
        GW_MH_HEARTBEAT = 13,
        GW_MH_REVOCATION = 16,
        GW_MH_UPDATE_NOTIFICATION = 19,
        GW_MH_UPDATE_NOTIFICATION_ACK = 20,
};

enum gw_mh_request_flag {
        GW_MH_REQUEST_ACK = 0x8000,
        GW_MH_REQUEST_HOME = 0x4000,
        GW_MH_REQUEST_LINK_LOCAL = 0x2000,
        GW_MH_REQUEST_KEY_MANAGEMENT = 0x1000,
        GW_MH_REQUEST_MAP = 0x0800,
        GW_MH_REQUEST_MOBILE_ROUTER = 0x0400,
        GW_MH_REQUEST_PROXY = 0x0200,
        GW_MH_REQUEST_FORCE_UDP = 0x0100,
        GW_MH_REQUEST_TLV_TUNNEL = 0x0080,
        GW_MH_REQUEST_BULK = 0x0040,
        GW_MH_REQUEST_USUAL = GW_MH_REQUEST_ACK | GW_MH_REQUEST_HOME | GW_MH_REQUEST_PROXY,
};

enum gw_mh_reply_flag {
        GW_MH_REPLY_KEY_MANAGEMENT = 0x80,
        GW_MH_REPLY_MOBILE_ROUTER = 0x40,
        GW_MH_REPLY_PROXY = 0x20,
        GW_MH_REPLY_TLV_TUNNEL = 0x10,
        GW_MH_REPLY_BULK = 0x08,
};

/* Below GW_MH_REJECTED: accepted. */
enum gw_mh_status {
        GW_MH_ACCEPTED = 0,
        GW_MH_REJECTED = 128, /* also: reason unspecified */
        GW_MH_PROHIBITED = 129,
        GW_MH_NO_RESOURCES = 130,
        GW_MH_SEQUENCE_OUT_OF_WINDOW = 135,
        GW_MH_ID_MISMATCH = 144,
        GW_MH_ID_REQUIRED = 145,
        GW_MH_AUTH_FAILED = 146,
        GW_MH_PROXY_NOT_ENABLED = 152,
        GW_MH_NOT_SERVED_HERE = 153,
        GW_MH_SENDER_NOT_AUTHORIZED = 154,
        GW_MH_PREFIX_NOT_AUTHORIZED = 155,
        GW_MH_TIMESTAMP_MISMATCH = 156,
        GW_MH_TIMESTAMP_LOWER = 157,
        GW_MH_MISSING_PREFIX = 158,
        GW_MH_PREFIX_SET_DIFFERS = 159,
        GW_MH_MISSING_IDENTIFIER = 160,
        GW_MH_MISSING_HANDOFF = 161,
        GW_MH_MISSING_ACCESS_TYPE = 162,
        GW_MH_IPV4_NOT_AUTHORIZED = 170,
        GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED = 171,
        GW_MH_IPV6_NOT_AUTHORIZED = 172,
};

enum gw_mh_option {
        GW_MH_OPT_PAD1 = 0,
        GW_MH_OPT_PADN = 1,
        GW_MH_OPT_ALTERNATE_COA = 3,
        GW_MH_OPT_NODE_ID = 8,
        GW_MH_OPT_AUTH = 9,
        GW_MH_OPT_MESSAGE_ID = 10,
        GW_MH_OPT_VENDOR = 19,
        GW_MH_OPT_HOME_PREFIX = 22,
        GW_MH_OPT_HANDOFF = 23,
        GW_MH_OPT_ACCESS_TYPE = 24,
        GW_MH_OPT_LINK_LAYER_ID = 25,
        GW_MH_OPT_LINK_LOCAL = 26,
        GW_MH_OPT_TIMESTAMP = 27,
        GW_MH_OPT_RESTARTS = 28,
        GW_MH_OPT_COA4 = 32,
        GW_MH_OPT_HOME4_REQUEST = 36,
        GW_MH_OPT_HOME4_REPLY = 37,
        GW_MH_OPT_DEFAULT_ROUTER4 = 38,
        GW_MH_OPT_DHCP4 = 39,
        GW_MH_OPT_ALTERNATE_COA4 = 49,
        GW_MH_OPT_GROUP = 50,
        GW_MH_OPT_SERVING = 68,
};

enum gw_mh_node_id {
        GW_MH_NODE_ID_NAI = 1, /* the only one that names a VM here */
        GW_MH_NODE_ID_IPV6 = 2,
        GW_MH_NODE_ID_IMSI = 3,
        GW_MH_NODE_ID_EUI48 = 5,
        GW_MH_NODE_ID_EUI64 = 6,
        GW_MH_NODE_ID_DUID = 8,
};

enum gw_mh_handoff {
        GW_MH_HANDOFF_NEW = 1,        /* attached over a new interface: a VM that starts */
        GW_MH_HANDOFF_INTERFACES = 2, /* between two interfaces of the node */
        GW_MH_HANDOFF_MOVED = 3,      /* between two gateways: a VM that has moved */
        GW_MH_HANDOFF_UNKNOWN = 4,
        GW_MH_HANDOFF_UNCHANGED = 5,   /* refresh */
        GW_MH_HANDOFF_NEW_SHARING = 6, /* a new interface that shares prefixes */
};

enum gw_mh_access {
        GW_MH_ACCESS_VIRTUAL = 1,
        GW_MH_ACCESS_PPP = 2,
        GW_MH_ACCESS_ETHERNET = 3,
};

enum gw_mh_auth {
        GW_MH_AUTH_MN_HA = 1,
        GW_MH_AUTH_MN_AAA = 2,
        GW_MH_AUTH_SIZE = 12,      /* octets of a truncated HMAC-SHA1, RFC 4285 */
        GW_MH_AUTH_SIZE_LONG = 16, /* of a truncated HMAC-SHA256, ours */
        GW_MH_SPI_MIN = 256,       /* those below are reserved */
};

enum gw_mh_error {
        GW_MH_ERROR_UNKNOWN_BINDING = 1, /* for a Home Address destination option */
        GW_MH_ERROR_UNKNOWN_TYPE = 2,    /* the peer does not know this type of message */
};

enum gw_mh_heartbeat_flag {
        GW_MH_HEARTBEAT_UNSOLICITED = 0x0002,
        GW_MH_HEARTBEAT_RESPONSE = 0x0001,
};

enum gw_mh_notification_flag {
        GW_MH_NOTIFICATION_ACK = 0x8000,   /* answer with an Acknowledgement */
        GW_MH_NOTIFICATION_AGAIN = 0x4000, /* a retransmission: same number, same content */
};

enum gw_mh_notification_reason {
        GW_MH_NOTIFY_REREGISTER = 1,
        GW_MH_NOTIFY_PARAMETERS = 2,
        GW_MH_NOTIFY_VENDOR = 3,
        GW_MH_NOTIFY_ACCESS_INFO = 4,
};

enum gw_mh_notification_status {
        GW_MH_NOTIFIED = 0,
        GW_MH_NOTIFY_FAILED = 128,
        GW_MH_NOTIFY_MISSING_VENDOR = 129,
};

enum {
        GW_MH_GROUP_BULK = 1, /* subtype of the group option */
        GW_MH_GROUP_ALL = 1,  /* all sessions of the two peers */
};

/*
 * Our vendor option carries the epoch. The enterprise number is the one that
 * RFC 5612 sets aside for documentation: Godwit has none of its own, and both
 * ends of a registration are Godwit's. Whoever ships it under an own number
 * changes this line.
 */
enum {
        GW_MH_ENTERPRISE = 32473,
        GW_MH_VENDOR_EPOCH = 1, /* subtype: u64 */
};
