# Sourced by the other tools.
say() {
    printf "%s\n" "$*"
}
