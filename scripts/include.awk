# Replaces each line "-- include FILE" by that file.
/^-- include / {
    while ((read = (getline line < $3)) > 0)
        print line
    if (read < 0) {
        print "no such file: " $3 > "/dev/stderr"
        exit 1
    }
    next
}
{ print }
