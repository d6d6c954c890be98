# Prints C functions that are too long or take too many parameters. Relies on the project's form: a definition starts in the first column,
# its brace closes in the first column.
function check_parameters(    text, depth, i, c, commas, open) {
    text = head
    sub(/ *\{.*$/, "", text)
    sub(/ *__attribute__.*$/, "", text)
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c == "(") { if (depth++ == 0) commas = 0 }
        else if (c == ")") depth--
        else if (c == "," && depth == 1) commas++
    }
    if (commas >= 6) printf "%s:%d: %d parameters\n", FILENAME, start, commas + 1
}
FNR == 1 { head = ""; inside = 0 }
!inside && /^[a-zA-Z_]/ && !/^(typedef|struct|enum|union) *[A-Za-z_]* *\{/ { head = ""; start = FNR }
!inside { head = head $0
          if (/;[^)]*$/ && !/\{/) head = ""
          if (/^\{|\) *\{$/ && head ~ /\)/ && head !~ /=/) { inside = 1; switches = 0; check_parameters() } }
inside && /switch \(/ { switches = 1 }
inside && /^\}/ {
    lines = FNR - start + 1
    if (lines > (switches ? 120 : 60)) printf "%s:%d: %d lines\n", FILENAME, start, lines
    inside = 0; head = ""
}
