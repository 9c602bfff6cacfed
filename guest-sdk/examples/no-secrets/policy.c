/* Mail whose text carries card numbers or IBANs is kept for a person to look at. */
#include "secmx.h"
#include <ctype.h>

/* What begins at `from`: capital letters and digits in groups, one space or hyphen between. Luhn's sum, or ISO 13616 with its 97. */
static const char *secret(secmx_text text, size_t from) {
  int d[35], len = 0;
  for (size_t at = from; at < text.len; ++at) {
    bool more = at + 1 < text.len && isalnum(text.ptr[at + 1]);
    if ((isdigit(text.ptr[at]) || isupper(text.ptr[at])) && len < 34) d[len++] = text.ptr[at] - (isdigit(text.ptr[at]) ? '0' : 'A' - 10);
    else if ((text.ptr[at] == ' ' || text.ptr[at] == '-') && more) continue;
    else return NULL;
    int luhn = 0, rest = 0, digits = 0;
    for (int i = 0; i < len; ++i) {
      int each = d[len - 1 - i], moved = d[(i + 4) % len];
      luhn += i % 2 ? each * 2 - each / 5 * 9 : each;
      rest = (rest * (moved > 9 ? 100 : 10) + moved) % 97;
      digits += each < 10;
    }
    if (!more && len >= 13 && len <= 19 && digits == len && luhn % 10 == 0) return "card";
    if (!more && len >= 15 && rest == 1 && d[0] > 9 && d[1] > 9 && d[2] < 10 && d[3] < 10) return "iban";
  }
  return NULL;
}

secmx_ruling secmx_inspect(secmx_session session, secmx_message message) {
  (void)session;
  secmx_policy_message_list_part_t parts;
  SECMX(message, parts)(message, &parts);
  for (uint32_t part = 0; part < parts.len; ++part) {
    secmx_text text, excerpt;
    for (size_t at = 0, some = SECMX(message, part_text)(message, part, 1 << 20, &text) ? text.len : 0; at < some; ++at) {
      const char *kind = isalnum(text.ptr[at]) && !(at && isalnum(text.ptr[at - 1])) ? secret(text, at) : NULL;
      if (!kind) continue;
      SECMX(message, add_evidence)(message, part, at, (excerpt = secmx_format("%.4s…", text.ptr + at), &excerpt));
      return secmx_quarantine((char *)secmx_format("dlp.%s", kind).ptr, secmx_format("%s in part %u", kind, part));
    }
  }
  return secmx_pass();
}
