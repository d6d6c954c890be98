# Completion of oneshot's command line in bash. The words come from the program itself (`oneshot complete`), so they are never out of date.
_oneshot() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=sparsify first=${COMP_WORDS[1]} kind
    COMPREPLY=()
    if [[ $COMP_CWORD -gt 1 && $first != -* ]]; then command=$first; fi
    if [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" complete 2>/dev/null)" -- "$word")
        return
    fi
    if [[ $previous == -o ]]; then previous=--output; fi
    kind=$("${COMP_WORDS[0]}" complete "$command" 2>/dev/null | awk -F '\t' -v name="$previous" '$1 == name { print $2 }')
    case $kind in
    '' | -)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" complete "$command" 2>/dev/null | cut -f 1)" -- "$word")
        elif [[ $COMP_CWORD -eq 1 ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" complete 2>/dev/null) help" -- "$word")
        else
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi ;;
    file)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    text) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "${kind//|/ }" -- "$word") ;;
    esac
}
complete -F _oneshot oneshot
