"""Who holds which patients: profiles of hospitals, the rules that deal patients, what each then holds."""
