package dev.tokenmint.client;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** URLs in their normal form (RFC 3986 sections 6.2.2 and 6.2.3). */
final class NormalUrl {
    private static final Pattern URI = Pattern.compile("[!#-;=?-\\[\\]_a-z~]{1,2048}"); // RFC 3986 section 2
    private static final Pattern HTTP =
            Pattern.compile("(https?)://([^/?#@]+)((?:/[^?#]*)?)(?:\\?[^#]*)?(?:#.*)?", Pattern.CASE_INSENSITIVE);
    private static final Pattern ESCAPED = Pattern.compile("%[0-9A-Fa-f]{2}");

    private NormalUrl() {}

    /** Returns scheme, authority and path, or null where it is no absolute http or https URL, or one with a user. */
    static String of(Object url) {
        if (!(url instanceof String text) || !URI.matcher(text).matches()) {
            return null;
        }
        Matcher parts = HTTP.matcher(text);
        if (!parts.matches()) {
            return null;
        }
        String scheme = parts.group(1).toLowerCase(Locale.ROOT);
        String authority = parts.group(2).toLowerCase(Locale.ROOT).replaceFirst(scheme.equals("https") ? ":(443)?$" : ":(80)?$", "");
        return scheme + "://" + authority + withoutDots(ESCAPED.matcher(parts.group(3)).replaceAll(NormalUrl::unescaped));
    }

    private static String unescaped(MatchResult sequence) {
        String character = String.valueOf((char) Integer.parseInt(sequence.group().substring(1), 16));
        return character.matches("[A-Za-z0-9._~-]") ? character : sequence.group().toUpperCase(Locale.ROOT);
    }

    /** Removes the segments "." and ".." (RFC 3986 section 5.2.4). */
    private static String withoutDots(String path) {
        List<String> kept = new ArrayList<>();
        List<String> segments = List.of(path.split("/", -1));
        for (String segment : segments.subList(1, Math.max(1, segments.size()))) {
            if (segment.equals("..")) {
                if (!kept.isEmpty()) {
                    kept.remove(kept.size() - 1);
                }
            } else if (!segment.equals(".")) {
                kept.add(segment);
            }
        }
        String last = segments.get(segments.size() - 1);
        boolean ends = (last.equals(".") || last.equals("..")) && !kept.isEmpty();
        return "/" + String.join("/", kept) + (ends ? "/" : "");
    }
}
