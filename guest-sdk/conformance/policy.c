/* Touches everything that a policy can see and do. `cases.toml` says what must come of it. */
#include "secmx.h"
#include <stdlib.h>
#include <string.h>

#define TEXT(text) SECMX_ARG(text)
#define BIT(is) ((is) ? '1' : '0')

static secmx_text or_dash(bool is, secmx_text text) {
  return is ? text : secmx_from("-");
}

static secmx_text option(guest_option_string_t text) {
  return or_dash(text.is_some, text.val);
}

static secmx_text path(const secmx_address *address) {
  return address ? secmx_format("%.*s@%.*s", TEXT(address->local_part), TEXT(address->domain)) : secmx_from("-");
}

/* Adds to a text that grows, with something between. */
static void add(secmx_text *to, const char *between, secmx_text more) {
  *to = to->ptr ? secmx_format("%.*s%s%.*s", TEXT(*to), between, TEXT(more)) : secmx_format("%.*s", TEXT(more));
}

static secmx_text words(secmx_policy_types_parameter_t *given, size_t len) {
  secmx_text all = {0};
  for (size_t at = 0; at < len; ++at) {
    secmx_text word = given[at].keyword;
    if (given[at].value.is_some) word = secmx_format("%.*s=%.*s", TEXT(word), TEXT(given[at].value.val));
    add(&all, " ", word);
  }
  return all;
}

static secmx_text joined(guest_list_string_t texts) {
  secmx_text all = {0};
  for (size_t at = 0; at < texts.len; ++at) add(&all, ",", texts.ptr[at]);
  return all;
}

static secmx_text channel(bool is, secmx_policy_session_channel_t it) {
  if (!is) return secmx_from("-");
  char level = BIT(it.level == SECMX_POLICY_TYPES_LEVEL_DOMAIN), version = BIT(it.version == SECMX_POLICY_TYPES_TLS_VERSION_TLS1_3);
  return secmx_format("%c%c %.*s %.*s %.*s", level, version, TEXT(it.cipher), TEXT(it.group), TEXT(option(it.server_name)));
}

static secmx_text certificate(bool is, secmx_policy_session_certificate_t it) {
  if (!is) return secmx_from("-");
  return secmx_format("%.*s %.*s %.*s %zu %u %llu", TEXT(it.subject), TEXT(it.issuer), TEXT(joined(it.dns_names)), it.sha256.len,
                      it.sha256.ptr[31], (unsigned long long)it.not_after);
}

static secmx_text exchanger(const secmx_exchanger *it) {
  char source = BIT(it->source == SECMX_POLICY_DESTINATION_SOURCE_SECMX_SRV), secure = BIT(it->dnssec_secure);
  char domain = BIT(it->expected == SECMX_POLICY_TYPES_LEVEL_DOMAIN);
  return secmx_format("%u %.*s %u %u %c%c%c", it->index, TEXT(it->name), it->port, it->preference, source, secure, domain);
}

const char *secmx_check(void) {
  const char *wrong = secmx_settings("act:text?");
  return !wrong && strcmp(secmx_setting("act", ""), "refuse") == 0 ? "refused as told" : wrong;
}

static secmx_text session_tag(secmx_session session, const char *name) {
  secmx_text key = secmx_from(name), value;
  return SECMX(session, tag)(session, &key, &value) ? value : secmx_from("-");
}

static void set_session_tag(secmx_session session, const char *name, secmx_text value) {
  secmx_text key = secmx_from(name);
  SECMX(session, set_tag)(session, &key, &value);
}

secmx_ruling secmx_greet(secmx_session session) {
  SECMX(session, set_role)(session, SECMX_POLICY_TYPES_RECEIVER_ROLE_SECURE_ONLY);
  SECMX(session, set_client_certificate)(session, SECMX_POLICY_SESSION_CLIENT_CERTIFICATE_REQUEST);
  secmx_text id, listener, client, it, facts, spf = secmx_from("spf"), dkim = secmx_from("dkim");
  SECMX(session, id)(session, &id);
  SECMX(session, listener)(session, &listener);
  SECMX(session, client_address)(session, &client);
  facts = secmx_format("%.*s %.*s %.*s", TEXT(id), TEXT(listener), TEXT(client));
  add(&facts, " ", SECMX(session, client_name)(session, &it) ? it : secmx_from("-"));
  add(&facts, " ", SECMX(session, hello)(session, &it) ? it : secmx_from("-"));
  add(&facts, " ", SECMX(session, authenticated_as)(session, &it) ? it : secmx_from("-"));
  add(&facts, " ", SECMX(session, authentication_result)(session, &spf, &it) ? it : secmx_from("-"));
  add(&facts, " ", SECMX(session, authentication_result)(session, &dkim, &it) ? it : secmx_from("-"));
  add(&facts, " ", session_tag(session, "before"));
  set_session_tag(session, "facts", facts);
  secmx_policy_session_channel_t tls;
  bool secured = SECMX(session, channel)(session, &tls);
  set_session_tag(session, "channel", channel(secured, tls));
  secmx_policy_session_certificate_t peer;
  bool known = SECMX(session, peer_certificate)(session, &peer);
  set_session_tag(session, "peer", certificate(known, peer));
  set_session_tag(session, "again", session_tag(session, "channel"));
  return secmx_pass();
}

secmx_ruling secmx_mail(secmx_session session, const secmx_address *reverse_path, secmx_parameters parameters) {
  (void)session;
  secmx_text text = secmx_format("%.*s %.*s", TEXT(path(reverse_path)), TEXT(words(parameters.ptr, parameters.len)));
  return secmx_reject(550, 5, 1, 8, text, "told.mail");
}

secmx_ruling secmx_recipient(secmx_session session, const secmx_address *reverse_path, const secmx_address *forward_path,
                             secmx_parameters parameters) {
  (void)session;
  secmx_text given = words(parameters.ptr, parameters.len);
  secmx_text text = secmx_format("%.*s %.*s %.*s", TEXT(path(reverse_path)), TEXT(path(forward_path)), TEXT(given));
  return secmx_defer(451, 4, 7, 1, text, "told.recipient");
}

static secmx_text octets(guest_list_u8_t list) {
  return (secmx_text){list.ptr, list.len};
}

static secmx_ruling facts(secmx_message message) {
  secmx_text id, all = {0}, each = {0}, subject = secmx_from("subject"), before = secmx_from("before"), tag;
  SECMX(message, id)(message, &id);
  secmx_address from;
  add(&all, "|", id);
  add(&all, "|", path(SECMX(message, reverse_path)(message, &from) ? &from : NULL));
  secmx_policy_message_list_parameter_t parameters;
  SECMX(message, parameters)(message, &parameters);
  add(&all, "|", words(parameters.ptr, parameters.len));
  secmx_policy_message_list_recipient_t to;
  SECMX(message, recipients)(message, &to);
  for (size_t at = 0; at < to.len; ++at) {
    secmx_text given = words(to.ptr[at].parameters.ptr, to.ptr[at].parameters.len);
    add(&each, ",", secmx_format("%.*s %.*s", TEXT(path(&to.ptr[at].address)), TEXT(given)));
  }
  add(&all, "|", each);
  add(&all, "|", secmx_format("%llu", (unsigned long long)SECMX(message, octets)(message)));
  secmx_policy_message_list_field_t fields;
  SECMX(message, fields)(message, &fields);
  each = (secmx_text){0};
  for (size_t at = 0; at < fields.len; ++at) {
    secmx_text value = octets(fields.ptr[at].value);
    while (value.len && value.ptr[0] == ' ') ++value.ptr, --value.len;
    while (value.len && value.ptr[value.len - 1] <= ' ') --value.len;
    add(&each, ",", secmx_format("%.*s=%.*s", TEXT(fields.ptr[at].name), TEXT(value)));
  }
  add(&all, "|", each);
  guest_list_string_t texts;
  SECMX(message, text)(message, &subject, &texts);
  add(&all, "|", joined(texts));
  guest_list_u8_t some;
  SECMX(message, read)(message, 3, 4, &some);
  add(&all, "|", octets(some));
  add(&all, "|", SECMX(message, tag)(message, &before, &tag) ? tag : secmx_from("-"));
  return secmx_quarantine("told.facts", all);
}

static secmx_ruling parts(secmx_message message) {
  secmx_text all = {0}, text;
  secmx_policy_message_list_part_t list;
  SECMX(message, parts)(message, &list);
  for (size_t at = 0; at < list.len; ++at) {
    secmx_policy_message_part_t it = list.ptr[at];
    secmx_text parent = it.parent.is_some ? secmx_format("%u", it.parent.val) : secmx_from("-");
    char attached = BIT(it.attachment), clear = BIT(it.opacity == SECMX_POLICY_MESSAGE_OPACITY_CLEAR);
    add(&all, ",", secmx_format("%u %.*s %.*s %.*s %.*s %llu %c%c", it.index, TEXT(parent), TEXT(it.content_type), TEXT(option(it.charset)),
                                TEXT(option(it.file_name)), (unsigned long long)it.decoded_octets, attached, clear));
  }
  add(&all, "|", SECMX(message, part_text)(message, 1, 6, &text) ? text : secmx_from("-"));
  guest_list_u8_t some;
  SECMX(message, read_part)(message, 1, 1, 3, &some);
  add(&all, "|", octets(some));
  SECMX(message, digest)(message, 1, &some);
  add(&all, "|", secmx_format("%zu %u", some.len, some.ptr[0]));
  secmx_text needles[] = {secmx_from("nothing"), secmx_from("GRUSS"), secmx_from("Gruss")}, found = {0};
  guest_list_string_t wanted = {needles, 3};
  guest_list_u32_t indexes;
  SECMX(message, find)(message, &wanted, true, &indexes);
  for (size_t at = 0; at < indexes.len; ++at) add(&found, ",", secmx_format("%u", indexes.ptr[at]));
  add(&all, "|", found);
  return secmx_quarantine("told.parts", all);
}

static secmx_ruling changes(secmx_message message) {
  secmx_text told = secmx_from("X-Told"), green = secmx_from("grün"), subject = secmx_from("Subject"), word = secmx_from("told"), wrong;
  SECMX(message, add_field)(message, &told, &green);
  SECMX(message, replace_field)(message, &subject, &word);
  secmx_text old = secmx_from("X-Old"), domain = secmx_from("health.test");
  uint32_t removed = SECMX(message, remove_field)(message, &old);
  secmx_address di = {secmx_from("di"), domain}, cy = {secmx_from("cy"), domain}, nobody = {secmx_from("nobody"), domain};
  SECMX(message, add_recipient)(message, &di);
  char gone = BIT(SECMX(message, remove_recipient)(message, &cy)), absent = BIT(SECMX(message, remove_recipient)(message, &nobody));
  secmx_text class = secmx_from("class"), secret = secmx_from("secret"), seen = secmx_from("seen");
  SECMX(message, set_tag)(message, &class, &secret);
  SECMX(message, demand)(message, SECMX_POLICY_TYPES_SENDER_ROLE_SECURE_ONLY, SECMX_POLICY_TYPES_LEVEL_HOST);
  SECMX(message, add_evidence)(message, 0, 7, &seen);
  secmx_text kept = secmx_from("kept"), none = secmx_from("none"), plain = secmx_from("text/plain");
  char first = BIT(SECMX(message, journal)(message, &kept, &wrong)), second = BIT(SECMX(message, journal)(message, &none, &wrong));
  char third = BIT(SECMX(message, remove_part)(message, 9, &wrong));
  guest_list_u8_t body = {(uint8_t *)"x", 1};
  char last = BIT(SECMX(message, replace_part)(message, 9, &plain, &body, &wrong));
  return secmx_accept("told.changes", secmx_format("%u %c%c %c%c%c %c", removed, gone, absent, first, second, third, last));
}

static secmx_ruling host(void) {
  secmx_debug("one %d", 1);
  secmx_info("two %d", 2);
  secmx_warn("three %d", 3);
  secmx_count("told", 2);
  char listed = BIT(secmx_in_list("blocked", secmx_from("192.0.2.7"))), other = BIT(secmx_in_list("blocked", secmx_from("192.0.2.8")));
  return secmx_accept("told.host", secmx_format("%c%c %c", listed, other, BIT(secmx_policy_host_now() > 1700000000)));
}

static secmx_ruling store(void) {
  secmx_text before = secmx_from("-"), after = secmx_from("-"), much = {calloc(1, 1 << 21), 1 << 21};
  int64_t first = 0, second = 0;
  secmx_store_get("word", &before);
  const char *wrong = secmx_store_set("word", secmx_from("kept"), 3600);
  if (!wrong) wrong = secmx_store_increment("sum", 2, 0, &first);
  if (!wrong) wrong = secmx_store_increment("sum", -5, 0, &second);
  if (wrong) SECMX_FAULT("%s", wrong);
  secmx_store_get("word", &after);
  const char *end = secmx_store_set("much", much, 0) ? "refused" : "taken";
  return secmx_accept("told.store", secmx_format("%.*s %.*s %lld %lld %s", TEXT(before), TEXT(after), (long long)first, (long long)second, end));
}

static secmx_ruling dns(void) {
  secmx_answer found, other;
  if (secmx_look_up("known.test", "TXT", &found)) SECMX_FAULT("nothing is known");
  const char *none = secmx_look_up("none.test", "TXT", &other), *down = secmx_look_up("down.test", "TXT", &other);
  const char *forged = secmx_look_up("forged.test", "TXT", &other);
  secmx_text values = joined((guest_list_string_t){found.values.ptr, found.values.len});
  return secmx_accept("told.dns", secmx_format("%.*s %c %s %s %s", TEXT(values), BIT(found.secure), none, down, forged));
}

static secmx_ruling memory(void) {
  char *volatile much = malloc(1u << 30);
  if (!much) SECMX_FAULT("no memory");
  memset(much, 1, 1u << 30);
  return secmx_accept("told.memory", secmx_format("%d", much[12345]));
}

secmx_ruling secmx_inspect(secmx_session session, secmx_message message) {
  (void)session;
  const char *act = secmx_setting("act", "");
  if (!strcmp(act, "facts")) return facts(message);
  if (!strcmp(act, "parts")) return parts(message);
  if (!strcmp(act, "changes")) return changes(message);
  if (!strcmp(act, "host")) return host();
  if (!strcmp(act, "store")) return store();
  if (!strcmp(act, "dns")) return dns();
  if (!strcmp(act, "discard")) return secmx_discard("told.discard", secmx_from("dropped as told"));
  if (!strcmp(act, "raise")) SECMX_FAULT("the author's own words");
  if (!strcmp(act, "memory")) return memory();
  for (volatile int turns = 0; !strcmp(act, "loop"); ++turns) {
  }
  if (!strcmp(act, "bad-field")) {
    secmx_text told = secmx_from("X-Told"), value = secmx_from("one\r\nX-Smuggled: two");
    SECMX(message, add_field)(message, &told, &value);
  }
  if (!strcmp(act, "bad-reply")) return secmx_reject(250, 2, 0, 0, secmx_from("no refusal"), "told.bad-reply");
  return secmx_pass();
}

static secmx_text destination_tag(secmx_destination to, const char *name) {
  secmx_text key = secmx_from(name), value;
  return SECMX(destination, tag)(to, &key, &value) ? value : secmx_from("-");
}

secmx_ruling secmx_route(secmx_destination to) {
  SECMX(destination, set_role)(to, SECMX_POLICY_TYPES_SENDER_ROLE_SECURE_ONLY);
  SECMX(destination, attempt)(to, 1, SECMX_POLICY_TYPES_LEVEL_HOST);
  SECMX(destination, attempt)(to, 0, SECMX_POLICY_TYPES_LEVEL_DOMAIN);
  secmx_policy_destination_exhausted_t proved = {.tag = SECMX_POLICY_DESTINATION_EXHAUSTED_BOUNCE}, unknown = {0};
  proved.val.bounce = (secmx_policy_types_reason_t){secmx_from("told.proved"), secmx_from("nothing better")};
  SECMX(destination, when_proved)(to, &proved);
  SECMX(destination, when_unknown)(to, &unknown);
  secmx_text all = {0}, it, each = {0};
  SECMX(destination, domain)(to, &it);
  add(&all, "|", it);
  secmx_policy_destination_list_address_t recipients;
  SECMX(destination, recipients)(to, &recipients);
  for (size_t at = 0; at < recipients.len; ++at) add(&each, ",", path(&recipients.ptr[at]));
  add(&all, "|", each);
  secmx_address from;
  add(&all, "|", path(SECMX(destination, reverse_path)(to, &from) ? &from : NULL));
  SECMX(destination, message_id)(to, &it);
  add(&all, "|", it);
  add(&all, "|", secmx_format("%.*s %.*s", TEXT(destination_tag(to, "class")), TEXT(destination_tag(to, "none"))));
  add(&all, "|", secmx_format("%u|%u", SECMX(destination, waited)(to), SECMX(destination, attempts)(to)));
  secmx_policy_destination_level_t best;
  bool reached = SECMX(destination, best_level)(to, &best) && best == SECMX_POLICY_TYPES_LEVEL_HOST;
  bool found = SECMX(destination, secmx)(to) == SECMX_POLICY_DESTINATION_ANSWER_FOUND;
  bool open = SECMX(destination, mx)(to) == SECMX_POLICY_DESTINATION_ANSWER_UNKNOWN;
  add(&all, "|", secmx_format("%c%c%c", BIT(found), BIT(open), BIT(reached)));
  SECMX(destination, sts_mode)(to, &it);
  add(&all, "|", it);
  secmx_policy_destination_list_exchanger_t hosts;
  SECMX(destination, exchangers)(to, &hosts);
  each = (secmx_text){0};
  for (size_t at = 0; at < hosts.len; ++at) add(&each, ",", exchanger(&hosts.ptr[at]));
  add(&all, "|", each);
  secmx_policy_session_channel_t tls;
  add(&all, "|", secmx_from(SECMX(destination, channel)(to, &tls) ? "0" : "1"));
  return secmx_accept("told.route", all);
}

secmx_ruling secmx_admit(secmx_destination destination, const secmx_exchanger *to) {
  secmx_policy_session_channel_t tls;
  secmx_policy_session_certificate_t peer;
  secmx_text all = channel(SECMX(destination, channel)(destination, &tls), tls);
  add(&all, "|", certificate(SECMX(destination, peer_certificate)(destination, &peer), peer));
  add(&all, "|", exchanger(to));
  return secmx_quarantine("told.admit", all);
}
