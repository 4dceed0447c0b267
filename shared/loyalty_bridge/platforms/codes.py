"""Codes of languages and currencies that the libraries do not know."""

from __future__ import annotations

_ISO_639_2 = """
aar:aa abk:ab afr:af aka:ak alb:sq amh:am ara:ar arg:an arm:hy asm:as ava:av ave:ae aym:ay aze:az bak:ba bam:bm
baq:eu bel:be ben:bn bis:bi bod:bo bos:bs bre:br bul:bg bur:my cat:ca ces:cs cha:ch che:ce chi:zh chu:cu chv:cv
cor:kw cos:co cre:cr cym:cy cze:cs dan:da deu:de div:dv dut:nl dzo:dz ell:el eng:en epo:eo est:et eus:eu ewe:ee
fao:fo fas:fa fij:fj fin:fi fra:fr fre:fr fry:fy ful:ff geo:ka ger:de gla:gd gle:ga glg:gl glv:gv gre:el grn:gn
guj:gu hat:ht hau:ha heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ice:is ido:io iii:ii iku:iu ile:ie
ina:ia ind:id ipk:ik isl:is ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khm:km kik:ki kin:rw
kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu lug:lg mac:mk
mah:mh mal:ml mao:mi mar:mr may:ms mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd
ndo:ng nep:ne nld:nl nno:nn nob:nb nor:nb nya:ny oci:oc oji:oj ori:or orm:om oss:os pan:pa per:fa pli:pi pol:pl
por:pt pus:ps que:qu roh:rm ron:ro rum:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slo:sk slv:sl sme:se smo:sm
sna:sn snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv tah:ty tam:ta tat:tt tel:te
tgk:tg tgl:tl tha:th tib:bo tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz ven:ve
vie:vi vol:vo wel:cy wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh zul:zu
"""
"""Both sets of three letters, https://www.loc.gov/standards/iso639-2/php/code_list.php"""

_WINDOWS = """
enu:en ena:en enc:en eni:en enz:en ens:en des:de dea:de del:de dec:de frb:fr frc:fr frs:fr frl:fr esn:es esp:es
esm:es ess:es its:it nlb:nl ptb:pt ptg:pt chs:zh cht:zh zhh:zh csy:cs plk:pl sve:sv non:nn trk:tr rom:ro hrb:hr
sky:sk bgr:bg eti:et lvi:lv lth:lt vit:vi euq:eu glc:gl srl:sr srb:sr hye:hy
"""
"""https://learn.microsoft.com/openspecs/windows_protocols/ms-lcid"""

_REPLACED = """
no:nb iw:he in:id ji:yi jw:jv sh:sr
"""
"""https://www.iana.org/assignments/language-subtag-registry and the language aliases of https://cldr.unicode.org"""

LANGUAGES = dict(pair.split(":") for codes in (_WINDOWS, _ISO_639_2, _REPLACED) for pair in codes.split())
"""The two letters (three, where there are no two) that a language has today, by its other codes."""

_FORMER_CURRENCIES = """
AFA ANG ATS AZM BEF BGN BTC BYR CSD CUC CYP DEM EEK ESP FIM FRF GGP GHC GRD HRK IEP IMP ITL JEP LTL LUF LVL MRO MTL
MZM NAD NLG PTE ROL RUR SDD SIT SKK SLL STD TMM TRL VEB VEF ZMK ZWD ZWL ZWR
"""
FORMER_CURRENCIES = frozenset(_FORMER_CURRENCIES.split())
"""Withdrawn from ISO 4217 since 2000, or never there and on the list of Braze's SDKs:
https://github.com/braze-inc/braze-web-sdk (`logPurchase`)"""

FORMER_CURRENCY_NUMBERS = {
    191: "HRK",
    233: "EEK",
    428: "LVL",
    440: "LTL",
    931: "CUC",
    932: "ZWL",
    974: "BYR",
    975: "BGN",
}
